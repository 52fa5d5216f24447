"""The little world that the built-in model learns: what can happen in it, and how it looks."""
