"""A Postgres server for tests."""
