"""HTTP: the client and the network below it."""
