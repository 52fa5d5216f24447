"""Networks, their configs and their weights: pure torch, nothing of the host."""
