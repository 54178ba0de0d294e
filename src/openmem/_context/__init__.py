"""Packing memories into a block of text for a prompt."""
