"""One module per kind: its probe, its pure detectors and its rule table."""
