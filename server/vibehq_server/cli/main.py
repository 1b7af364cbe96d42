"""The entry point: which command, and how its end is told."""

import os
import sys
from collections.abc import Sequence

from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_server.cli.output import complain
from vibehq_server.cli.tree import build_parser

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command and return its exit code.

    0 done; 1 refused, failed, or found what was asked to fail on; 2 wrong usage or an
    unsafe setting; 3 the data folder is in use; 4 its room log is of another version;
    130 interrupted. Never a traceback for what a user can get wrong.
    """
    parser = build_parser()
    arguments = parser.parse(sys.argv[1:] if argv is None else argv)
    try:
        return int(arguments.run(arguments) or 0)
    except UsageError as error:
        complain(str(error))
        return 2
    except VibeError as error:
        from vibehq_server.cli.remote import advice_for

        complain(advice_for(error, arguments))
        return int(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does; the rest is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
