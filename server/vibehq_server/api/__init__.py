"""The HTTP API: thin handlers that decode, ask a room, and answer."""
