"""Who approves what in a test: ``bob:restart *``."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vibehq_nb.core.codec import encode_canonical
from vibehq_nb.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rule:
    """One person who approves what matches one pattern, as in ``bob:restart *``."""

    user: str
    pattern: str

    def __str__(self) -> str:
        """Return the rule as it is written."""
        return f"{self.user}:{self.pattern}"

    def matches(self, action: Mapping[str, Any]) -> bool:
        """Tell whether *action* is one this rule approves."""
        return fnmatch.fnmatchcase(action_text(action), self.pattern)


def decode_rule(text: str) -> Rule:
    """
    Return the rule in *text*.

    Raises:
        UsageError: If it is not ``user:pattern``.
    """
    user, colon, pattern = text.partition(":")
    if not (user.strip() and colon and pattern.strip()):
        raise UsageError(f"{text!r} is no rule. It looks like 'bob:restart *'.")
    return Rule(user.strip(), pattern.strip())


def action_text(action: Mapping[str, Any]) -> str:
    """Return what rules are matched against: the command, else the name, else JSON."""
    for key in ("command", "name"):
        if isinstance(action.get(key), str):
            return str(action[key])
    return encode_canonical(dict(action)).decode()
