"""The parts of the Postgres provider."""
