"""The rules, one file for each capability."""
