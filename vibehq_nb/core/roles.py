"""Who may send what. A message type that no row names is refused to everybody."""

from collections.abc import Collection
from enum import StrEnum


class Role(StrEnum):
    """What a connection may do; "operator" does not include "approver"."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    WORKER = "worker"
    ADMIN = "admin"


PERSON = frozenset({Role.VIEWER, Role.OPERATOR, Role.APPROVER})
NOTEBOOK = frozenset({Role.VIEWER, Role.OPERATOR})

BINARY = "(binary)"
"""Stands in the tables for a binary frame: keystrokes up, terminal bytes down."""

_ANYBODY = frozenset({Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.WORKER})
_OPERATOR = frozenset({Role.OPERATOR})
_APPROVER = frozenset({Role.APPROVER})
_WORKER = frozenset({Role.WORKER})

MAY_SEND: dict[str, dict[str, frozenset[Role]]] = {
    "terminal": {
        BINARY: frozenset({Role.OPERATOR, Role.WORKER}),
        "ack": _ANYBODY,
        "input-at": _OPERATOR,
        "resize": _OPERATOR,
        "writer": _OPERATOR,
        "size-policy": _OPERATOR,
        "hello": _WORKER,
        "since": _WORKER,
        "snapshot": _WORKER,
        "resized": _WORKER,
        "exited": _WORKER,
        "frozen": _WORKER,
        "title": _WORKER,
        "cwd": _WORKER,
        "command-started": _WORKER,
        "command-ended": _WORKER,
        "input-ack": _WORKER,
    },
    "worker": {
        "worker-hello": _WORKER,
        "done": _WORKER,
        "failed": _WORKER,
        "scan-progress": _WORKER,
        "scan-result": _WORKER,
        "scan-failed": _WORKER,
        "event": _WORKER,
    },
    "ops": {
        "subscribe": _ANYBODY,
        "event": frozenset({Role.OPERATOR, Role.WORKER}),
    },
    "hil": {
        "hil-request": frozenset({Role.OPERATOR, Role.APPROVER, Role.WORKER}),
        "hil-decision": _APPROVER,
        "hil-cancel": frozenset({Role.OPERATOR, Role.APPROVER, Role.WORKER}),
    },
    "lobby": {},
    "grants": {},
    "terminal-log": {},
}
"""party → message type → roles that may send it to the room."""

MAY_JOIN: dict[str, frozenset[Role]] = {
    "terminal": _ANYBODY,
    "worker": _WORKER | {Role.ADMIN},
    "ops": _ANYBODY,
    "hil": _ANYBODY,
    "lobby": _ANYBODY,
    "grants": frozenset({Role.ADMIN}),
    "terminal-log": frozenset(),  # read over HTTP, as part of its terminal
}
"""party → roles that may open a connection to it."""


def may_send(party: str, message_type: str, roles: Collection[Role]) -> bool:
    """Tell whether any of *roles* may send *message_type* to a room of *party*."""
    allowed = MAY_SEND.get(party, {}).get(message_type, frozenset())
    return not allowed.isdisjoint(roles)


def may_join(party: str, roles: Collection[Role]) -> bool:
    """Tell whether any of *roles* may connect; whoever has one may, to users' own."""
    return not MAY_JOIN.get(party, _ANYBODY).isdisjoint(roles)
