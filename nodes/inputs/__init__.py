"""Inputs of nodes: declared once, and those that several nodes have."""
