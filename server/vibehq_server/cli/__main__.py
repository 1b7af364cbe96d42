"""``python -m vibehq_server.cli``."""

import sys

from vibehq_server.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
