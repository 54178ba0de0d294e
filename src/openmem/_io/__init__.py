"""I/O: the only package that waits. Each class and function stands here in both forms, side by side."""
