"""``python -m vibehq_nb.worker``, but keyframes are tails: no screen is kept."""

import sys

from vibehq_nb.core.screen import TailScreen
from vibehq_nb.worker import main
from vibehq_nb.worker.terminal import Terminal

Terminal.__init__.__defaults__ = (TailScreen,)

if __name__ == "__main__":
    sys.exit(main())
