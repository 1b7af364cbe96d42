"""What commands print: lines, tables, JSON; control bytes never reach the screen."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_CELL = 80


def say(text: str = "") -> None:
    """Print one line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print what is wrong, on as many lines as it has."""
    lines = "\n".join(plain(line, 2000) for line in text.split("\n"))
    sys.stderr.write(f"vibehq: {lines}\n")


def say_json(value: Any) -> None:
    """Print *value* as JSON."""
    say(json.dumps(value, indent=2, sort_keys=True, default=str))


def plain(value: Any, limit: int = MAX_CELL) -> str:
    """Return *value* on one line, control characters and bidi marks escaped."""
    text = "" if value is None else str(value)
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def say_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print *rows* under *columns*, aligned; a word where there are none."""
    cells = [[plain(_cell(row.get(name))) for name in columns] for row in rows]
    if not cells:
        say("(none)")
        return
    table = [list(columns), *cells]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    for row in table:
        line = "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        )
        say(line.rstrip())


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return value
