"""``python -m vibehq_nb.worker``."""

import sys

from vibehq_nb.worker import main

sys.exit(main())
