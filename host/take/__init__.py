"""Takes and storyboards in a graph."""
