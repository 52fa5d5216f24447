"""Motion by hand: where a camera goes, and what that does to pictures."""
