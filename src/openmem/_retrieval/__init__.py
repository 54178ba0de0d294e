"""Finding the right memories: words, ranking, dates."""
