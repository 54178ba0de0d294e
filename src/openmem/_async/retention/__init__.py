"""Retention of audit entries and versions."""
