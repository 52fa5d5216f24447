"""VIDEO in and out: read as footage, decoded from latents, interpolated, put on a canvas, saved.

What can be read of a VIDEO is its Footage (footage.py); a part of one is a Footage as well.
"""
