"""Core's samplers on our canvas."""
