"""Keepers of room logs: the port and its implementations."""
