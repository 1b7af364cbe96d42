"""What all tiers share."""

import os

# Plain output everywhere: a test reads what a program prints.
os.environ["NO_COLOR"] = "1"
os.environ.pop("FORCE_COLOR", None)

# The tests find their own servers, never one of the person who runs them.
for name in ("VIBEHQ_URL", "VIBEHQ_TOKEN", "VIBEHQ_DATA", "JPY_PARENT_PID"):
    os.environ.pop(name, None)
