"""Clips of a take on several machines: what travels, who samples what. No network, no ComfyUI."""
