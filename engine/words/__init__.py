"""Prompts as words: what is said in them, what is missing, and how a family of models puts it."""
