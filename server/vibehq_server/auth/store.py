"""
Sessions and grants: held in memory, written through to ``auth.sqlite3``.

Only hashes of credentials are stored. The file survives ``kill -9``, so a page that
was signed in resumes; writes are rare and small and happen on the event loop.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.roles import Role
from vibehq_server.auth.secrets import (
    GRANT_PREFIX,
    SESSION_PREFIX,
    digest,
    make_credential,
    make_id,
)
from vibehq_server.identity import Identity, Kind

logger = logging.getLogger(__name__)

IDLE_SECONDS = 8 * 3600.0
SESSION_SECONDS = 24 * 3600.0
TOUCH_SECONDS = 60.0
GRANT_ID = "g-"
SESSION_ID = "s-"
MAX_GRANT_SECONDS = 30 * 86400.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS grants (
  id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, user TEXT NOT NULL,
  roles TEXT NOT NULL, rooms TEXT NOT NULL, created REAL NOT NULL,
  expires REAL NOT NULL, created_by TEXT NOT NULL, revoked REAL);
CREATE TABLE IF NOT EXISTS sessions (
  hash TEXT PRIMARY KEY, id TEXT NOT NULL, user TEXT NOT NULL, roles TEXT NOT NULL,
  rooms TEXT NOT NULL, grant_id TEXT, created REAL NOT NULL, seen REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """What an administrator gave to a user for a time."""

    id: str
    hash: str
    user: str
    roles: frozenset[Role]
    rooms: tuple[str, ...]
    created: float
    expires: float
    created_by: str
    revoked: float | None = None

    def is_live(self, now: float) -> bool:
        """Tell whether it still opens anything."""
        return self.revoked is None and now < self.expires

    def identity(self, kind: Kind) -> Identity:
        """Return who shows it."""
        return Identity(self.user, kind, self.roles, self.id, self.rooms)


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser."""

    hash: str
    id: str
    user: str
    roles: frozenset[Role]
    rooms: tuple[str, ...]
    grant_id: str | None
    created: float
    seen: float

    def is_live(self, now: float) -> bool:
        """Tell whether it is neither idle for 8 hours nor older than 24."""
        return now < self.created + SESSION_SECONDS and now < self.seen + IDLE_SECONDS

    def identity(self) -> Identity:
        """Return the person behind it."""
        return Identity(self.user, "person", self.roles, self.id, self.rooms)


class AuthStore:
    """The sessions and grants of one data folder."""

    def __init__(
        self, path: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        """Open *path*, or keep everything in memory where it is None."""
        self._clock = clock
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
        if path is not None:
            path.chmod(0o600)
            self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        self._grants: dict[str, Grant] = {}
        self._sessions: dict[str, Session] = {}
        self._load()

    def _load(self) -> None:
        for row in self._database.execute("SELECT * FROM grants"):
            roles, rooms = _decode_roles(row[3]), tuple(json.loads(row[4]))
            grant = Grant(row[0], row[1], row[2], roles, rooms, *row[5:9])
            self._grants[grant.hash] = grant
        for row in self._database.execute("SELECT * FROM sessions"):
            roles, rooms = _decode_roles(row[3]), tuple(json.loads(row[4]))
            session = Session(row[0], row[1], row[2], roles, rooms, *row[5:8])
            self._sessions[session.hash] = session

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.Error:
            raise NotStoredError("auth.sqlite3 did not take the change") from None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # Grants

    def create_grant(
        self,
        user: str,
        roles: Collection[Role],
        rooms: Collection[str],
        ttl: float,
        created_by: str,
    ) -> tuple[str, Grant]:
        """Store a grant of *ttl* seconds; return its token, shown this once."""
        token = make_credential(GRANT_PREFIX)
        now = self._clock()
        expires = now + min(ttl, MAX_GRANT_SECONDS)
        grant = Grant(
            make_id(GRANT_ID),
            digest(token),
            user,
            frozenset(roles),
            tuple(rooms),
            now,
            expires,
            created_by,
        )
        self._write(
            "INSERT INTO grants VALUES (?,?,?,?,?,?,?,?,NULL)",
            (grant.id, grant.hash, user, *_encode(grant), now, expires, created_by),
        )
        self._grants[grant.hash] = grant
        return token, grant

    def find_grant(self, token: str) -> Grant | None:
        """Return the live grant of *token*."""
        grant = self._grants.get(digest(token))
        return grant if grant and grant.is_live(self._clock()) else None

    def grants(self) -> list[Grant]:
        """Return the live grants, oldest first."""
        now = self._clock()
        live = [grant for grant in self._grants.values() if grant.is_live(now)]
        return sorted(live, key=lambda grant: grant.created)

    def revoke_grant(self, grant_id: str) -> frozenset[str] | None:
        """Revoke a grant and its sessions; return their ids, None if there is none."""
        found = [grant for grant in self.grants() if grant.id == grant_id]
        if not found:
            return None
        now = self._clock()
        self._write("UPDATE grants SET revoked=? WHERE id=?", (now, grant_id))
        self._grants[found[0].hash] = replace(found[0], revoked=now)
        ended = {
            session.hash: session.id
            for session in self._sessions.values()
            if session.grant_id == grant_id
        }
        for session_hash in ended:
            self._end(session_hash)
        return frozenset(ended.values()) | {grant_id}

    def approvers(self) -> frozenset[str]:
        """Return the users with a live grant to approve."""
        return frozenset(
            grant.user for grant in self.grants() if Role.APPROVER in grant.roles
        )

    # Sessions

    def create_session(
        self,
        user: str,
        roles: Collection[Role],
        rooms: Collection[str] = ("*",),
        grant_id: str | None = None,
    ) -> str:
        """Store a session and return the value of its cookie."""
        self._drop_dead_sessions()
        cookie = make_credential(SESSION_PREFIX)
        now = self._clock()
        session = Session(
            digest(cookie),
            make_id(SESSION_ID),
            user,
            frozenset(roles),
            tuple(rooms),
            grant_id,
            now,
            now,
        )
        self._write(
            "INSERT INTO sessions VALUES (?,?,?,?,?,?,?,?)",
            (session.hash, session.id, user, *_encode(session), grant_id, now, now),
        )
        self._sessions[session.hash] = session
        return cookie

    def find_session(self, cookie: str) -> Session | None:
        """Return the live session of *cookie* and note that it was used."""
        session = self._sessions.get(digest(cookie))
        now = self._clock()
        if session is None or not session.is_live(now):
            return None
        if session.grant_id is not None and not self._is_grant_live(session.grant_id):
            return None
        if now - session.seen >= TOUCH_SECONDS:
            session = replace(session, seen=now)
            self._sessions[session.hash] = session
            self._note_seen(session)
        return session

    def _note_seen(self, session: Session) -> None:
        values = (session.seen, session.hash)
        try:
            self._write("UPDATE sessions SET seen=? WHERE hash=?", values)
        except NotStoredError as error:
            # Held in memory: all a restart can cost is signing in again.
            logger.warning("the use of a session was not noted: %s", error)

    def live_ids(self) -> frozenset[str]:
        """Return the ids of the grants and sessions that still open something."""
        now = self._clock()
        grants = {grant.id for grant in self.grants()}
        sessions = {
            session.id
            for session in self._sessions.values()
            if session.is_live(now) and session.grant_id in grants | {None}
        }
        return frozenset(grants | sessions)

    def _is_grant_live(self, grant_id: str) -> bool:
        return any(grant.id == grant_id for grant in self.grants())

    def end_session(self, cookie: str) -> str | None:
        """Sign a session out; return its id, None if there is none."""
        session = self._sessions.get(digest(cookie))
        if session is None:
            return None
        self._end(session.hash)
        return session.id

    def _end(self, session_hash: str) -> None:
        self._write("DELETE FROM sessions WHERE hash=?", (session_hash,))
        self._sessions.pop(session_hash, None)

    def _drop_dead_sessions(self) -> None:
        now = self._clock()
        dead = [key for key, held in self._sessions.items() if not held.is_live(now)]
        for key in dead:
            self._end(key)


def _encode(held: Grant | Session) -> tuple[str, str]:
    return json.dumps(sorted(held.roles)), json.dumps(held.rooms)


def _decode_roles(text: str) -> frozenset[Role]:
    return frozenset(Role(name) for name in json.loads(text))
