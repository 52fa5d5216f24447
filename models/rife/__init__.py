"""RIFE: networks that draw the frames between two frames."""
