"""SQLite: connections, threads, files."""
