"""The policy gate within ComfyUI; imported only where the owner of the server asks for it."""
