"""VIDEO in and out."""
