"""The statements of a server's own store: one text for SQLite and for Postgres."""
