"""The routes, their requests and their answers."""
