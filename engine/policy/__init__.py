"""What an owner of a server allows in prompts and pictures; off unless the owner asks for it."""
