"""How many rounds a random suite runs: all in `make prove`, a twentieth otherwise."""

import os
import random
import sys

SEED = int(os.environ.get("VIBEHQ_SEED", random.SystemRandom().randrange(2**32)))
"""Of this run; a failing test prints it, and `VIBEHQ_SEED` repeats it."""


def rounds(full: int) -> int:
    """Return *full*, or a twentieth of it, at least one."""
    if os.environ.get("VIBEHQ_ROUNDS") == "full":
        return full
    return max(1, full // 20)


def seeded(name: str) -> random.Random:
    """Return a source of randomness of its own for the test *name*; tells the seed."""
    sys.stdout.write(f"VIBEHQ_SEED={SEED} ({name})\n")
    return random.Random(f"{SEED}/{name}")
