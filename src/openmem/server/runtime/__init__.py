"""Settings, processes and connections."""
