"""From noise to latents: schedules, presets, and how much memory a step takes."""
