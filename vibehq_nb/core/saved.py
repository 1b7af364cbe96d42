"""How a saved state is tied to its log: an entry that holds the state's hash."""

import hashlib
from typing import Self

import msgspec

from vibehq_nb.core.messages import Message

_BEGINNING = b'{"type":"_saved"'


class Saved(Message, tag="_saved"):
    """Internal entry: the state that covers what is up to *covers* has this hash."""

    covers: int
    sha256: str
    offset: int = 0

    @classmethod
    def of(cls, covers: int, state: bytes) -> Self:
        """Return the entry that vouches for *state*."""
        return cls(covers=covers, sha256=hashlib.sha256(state).hexdigest())


def vouches(body: bytes, covers: int, state: bytes) -> bool:
    """Tell whether an entry's *body* vouches for *state* at offset *covers*."""
    if not body.startswith(_BEGINNING):
        return False
    saved = msgspec.json.decode(body, type=Saved)
    wanted = Saved.of(covers, state)
    return (saved.covers, saved.sha256) == (wanted.covers, wanted.sha256)
