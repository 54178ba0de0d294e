"""How long audit entries and versions are kept."""
