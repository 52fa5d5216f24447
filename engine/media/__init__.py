"""Media files read and written: video, sound, stills."""
