"""What happens to a video: its size, noise, schedule, frames and file. Knows no ComfyUI."""
