"""Where terminals can be opened: one provider each for this host, for containers."""
