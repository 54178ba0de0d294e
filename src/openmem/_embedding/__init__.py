"""Embedders, their batches and their vectors."""
