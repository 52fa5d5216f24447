"""Images and clips put on a canvas."""
