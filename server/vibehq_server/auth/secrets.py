"""Random credentials, and how they are kept: never themselves, only their hash."""

import hashlib
import hmac
import secrets

GRANT_PREFIX = "vhq_g_"
TICKET_PREFIX = "vhq_t_"
SESSION_PREFIX = "vhq_s_"
CODE_PREFIX = "vhq_c_"
JOIN_PREFIX = "vhq_j_"
WORKER_PREFIX = "vhq_w_"
ADMIN_PREFIX = "vhq_a_"
OUR_PREFIX = "vhq_"

MAX_CREDENTIAL = 128


def make_credential(prefix: str) -> str:
    """Return a fresh credential of 256 random bits that scanners can recognise."""
    return prefix + secrets.token_urlsafe(32)


def make_id(prefix: str) -> str:
    """Return a short public id; it opens nothing."""
    return prefix + secrets.token_hex(4)


def digest(credential: str) -> str:
    """Return what is kept of *credential*: its SHA-256, in hex."""
    return hashlib.sha256(credential.encode("utf-8", "replace")).hexdigest()


def is_same(left: str, right: str) -> bool:
    """Compare two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(
        left.encode("utf-8", "replace"), right.encode("utf-8", "replace")
    )
