"""Postgres: drivers, pools, failures."""
