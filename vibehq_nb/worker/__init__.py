"""
The worker: the agent beside what is operated. It holds PTYs and runs scans.

It imports no probe: a scan runs in a child process of its own.
"""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker as ``python -m vibehq_nb.worker`` does and return its exit code."""
    from vibehq_nb.worker.command import main as run

    return run(argv)
