"""Which tokens are hidden, told from the picture alone."""
