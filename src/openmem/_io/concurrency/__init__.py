"""Threads, locks, timers and deadlines."""
