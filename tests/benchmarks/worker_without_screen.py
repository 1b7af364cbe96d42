"""``python -m vibehq_nb.worker``, but keyframes are tails: no screen is kept."""

import sys
from functools import partial

from vibehq_nb.core.screen import TailScreen
from vibehq_nb.worker import agent, main

agent.Terminal = partial(agent.Terminal, make=TailScreen)  # type: ignore[assignment, misc]

if __name__ == "__main__":
    sys.exit(main())
