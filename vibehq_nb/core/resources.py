"""
What findings are about, and the names that stay the same from scan to scan.

A uid is ``kind:host:name``; the host's own colons are escaped, so no host's scope is
the beginning of another's.
"""

import hashlib

import msgspec

FINGERPRINT_VERSION = "v1"


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """What a finding is about; ``uid`` is the same in every scan of every life."""

    kind: str
    name: str
    uid: str
    host: str


def fingerprint(rule: str, uid: str, sub_key: str = "") -> str:
    """Return the versioned identity of *rule* on *uid*."""
    # JSON keeps the three parts apart whatever characters they hold.
    identity = msgspec.json.encode([rule, uid, sub_key])
    digest = hashlib.sha256(identity).hexdigest()[:16]
    return f"{FINGERPRINT_VERSION}:{digest}"


def resource(kind: str, name: str, host: str, key: str = "") -> Resource:
    """
    Return the resource *name* of *host*, with the uid that names it everywhere.

    Args:
        kind: What it is: disk, process, log.
        name: What people call it.
        host: The stable name of the host.
        key: What identifies it where the name does not.
    """
    uid = f"{_scope_prefix(kind, host)}{_escape(key or name, '%*')}"
    return Resource(kind=kind, name=name, uid=uid, host=host)


def scope_of(kind: str, host: str, prefix: str = "") -> str:
    """Return the scope of the *kind* on *host*, of keys that begin with *prefix*."""
    return f"{_scope_prefix(kind, host)}{_escape(prefix, '%*')}*"


def _scope_prefix(kind: str, host: str) -> str:
    return f"{kind}:{_escape(host, '%*:')}:"


def _escape(text: str, special: str) -> str:
    for char in special:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def scope_width(scope: str, uid: str) -> int:
    """Return how narrowly *scope* fits *uid*, -1 if not at all."""
    if scope == uid:
        return len(uid) + 1
    if scope.endswith("*") and uid.startswith(scope[:-1]):
        return len(scope) - 1
    return -1
