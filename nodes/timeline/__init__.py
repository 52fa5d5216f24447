"""The canvas, and what is known on it."""
