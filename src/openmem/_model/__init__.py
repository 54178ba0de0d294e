"""The words that every layer shares: requests, scopes, ids, cursors, checks of arguments."""
