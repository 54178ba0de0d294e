"""Pipes: the only room that waits. Each class and function stands here in both forms, side by side."""
