"""Recordings of terminals: files, the thread that writes them, what is kept of them."""
