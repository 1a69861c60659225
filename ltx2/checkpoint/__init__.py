"""Checkpoint files: what they say about themselves, and the modules made from them."""
