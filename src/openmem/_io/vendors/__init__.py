"""The vendors' SDKs."""
