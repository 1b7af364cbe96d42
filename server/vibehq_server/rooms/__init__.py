"""The built-in parties, one module each."""
