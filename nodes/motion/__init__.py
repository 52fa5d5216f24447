"""Motion by hand: where a camera goes."""
