"""ComfyUI's own values and folders: LATENT, CONDITIONING, progress, the model cache."""
