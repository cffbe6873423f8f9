"""Pieces of music whose tempo and key are known."""
