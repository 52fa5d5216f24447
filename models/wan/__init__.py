"""The Wan family: transformer, causal VAE, and the names their checkpoints use."""
