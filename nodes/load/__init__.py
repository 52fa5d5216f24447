"""Files become MODEL, CLIP and VAE."""
