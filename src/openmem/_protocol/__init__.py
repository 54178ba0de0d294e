"""The protocol as it is written over HTTP and in export files."""
