"""Content Credentials: signing what is saved, and reading what is signed."""
