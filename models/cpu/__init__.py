"""Kernels that are faster on a CPU than torch's own."""
