"""What routes share: callers, audit, repeats."""
