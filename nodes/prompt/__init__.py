"""What the video shows: prompts, storyboards, music."""
