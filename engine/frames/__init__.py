"""Frame streams: decoding, interpolating and marking, a few frames at a time."""
