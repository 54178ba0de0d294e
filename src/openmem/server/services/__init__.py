"""Services of the routes: authentication, audit, idempotency."""
