"""Motion by hand: where a camera goes, and what in a picture goes where."""
