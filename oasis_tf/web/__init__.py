"""What the demos of all systems share: an HTTP server with bounds, predictions, pictures."""
