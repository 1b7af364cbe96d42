"""Who is asking: credentials, sessions, grants, one-time tickets, Host and Origin."""
