"""How the built-in model is made: the world it learns, the training, the measurement."""
