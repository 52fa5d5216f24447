"""From noise to latents, and takes of any length."""
