"""The front-end bundle that the views share: where it lies and which one it is."""

import hashlib
from functools import lru_cache
from pathlib import Path

HASH_LENGTH = 12

_PACKAGE = Path(__file__).parent.parent


def bundle_path() -> Path:
    """Return where the build puts the bundle."""
    return _PACKAGE / "static" / "vibehq.js"


def bundle_bytes() -> bytes:
    """Return the bundle; empty when the front end was not built."""
    try:
        return bundle_path().read_bytes()
    except OSError:
        return b""


def bundle_hash() -> str:
    """Return 12 hexadecimal digits that change with the bundle; empty without one."""
    try:
        stat = bundle_path().stat()
    except OSError:
        return ""
    return _hash_of(stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _hash_of(_modified: int, _size: int) -> str:
    return hashlib.sha256(bundle_bytes()).hexdigest()[:HASH_LENGTH]
