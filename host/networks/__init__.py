"""Our networks as MODEL, CLIP and VAE, and how their files are loaded."""
