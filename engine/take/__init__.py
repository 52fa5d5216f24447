"""A take: shots laid out on windows, their cuts and dissolves, what is kept on disk."""
