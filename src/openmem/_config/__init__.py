"""Settings, addresses, paths and the registry of providers."""
