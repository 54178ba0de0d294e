"""The server's own store."""
