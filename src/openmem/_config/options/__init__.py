"""What the providers on stores of one's own are built from, checked without loading them: a constructor only looks."""
