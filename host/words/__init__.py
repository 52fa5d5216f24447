"""Words in the host: text encoders that write, and tables in the user's folder."""
