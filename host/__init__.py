"""The only place that touches ComfyUI's insides: our values as ComfyUI's, and back."""
