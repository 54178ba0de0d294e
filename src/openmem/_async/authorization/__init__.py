"""Checks of what a caller may do."""
