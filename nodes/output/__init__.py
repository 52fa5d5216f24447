"""Latents become VIDEO and IMAGE, files, and their origin."""
