"""The text and the transactions of the Postgres provider. Pure."""
