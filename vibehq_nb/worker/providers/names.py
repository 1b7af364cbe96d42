"""What is said when the place asked for is not there: what is, nearest first."""

from collections.abc import Iterable
from difflib import SequenceMatcher

MOST_NAMES = 10


def nearest_first(wanted: str, known: Iterable[str]) -> list[str]:
    """Return *known* with what looks most like *wanted* first, else by name."""

    def distance(name: str) -> tuple[float, str]:
        return -SequenceMatcher(None, wanted.lower(), name.lower()).ratio(), name

    return sorted(set(known), key=distance)


def told(wanted: str, known: Iterable[str]) -> str:
    """Return at most ten of *known* as words of a sentence, nearest first."""
    names = nearest_first(wanted, known)
    more = len(names) - MOST_NAMES
    listed = ", ".join(names[:MOST_NAMES]) or "none"
    return f"{listed} and {more} more" if more > 0 else listed
