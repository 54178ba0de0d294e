"""Supermemory."""
