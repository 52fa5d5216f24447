"""Containers and packets: opened, copied, published whole or not at all, recovered. PyAV alone."""
