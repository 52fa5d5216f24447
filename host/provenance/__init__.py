"""What is signed into a saved video, from the graph that made it."""
