"""
Sessions and grants: held in memory, written through to ``auth.sqlite3``.

Only hashes of credentials are stored. The file survives ``kill -9``, so a page that
was signed in resumes; writes are rare and small and happen on the event loop. What
ends a session or a grant ends its lease, which every socket of it looks at.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.roles import Role
from vibehq_server.auth.records import Grant, GrantRow, Session, SessionRow
from vibehq_server.auth.secrets import (
    GRANT_PREFIX,
    SESSION_PREFIX,
    digest,
    make_credential,
    make_id,
)
from vibehq_server.identity import Lease

logger = logging.getLogger(__name__)

TOUCH_SECONDS = 60.0
GRANT_ID = "g-"
SESSION_ID = "s-"
MAX_GRANT_SECONDS = 30 * 86400.0
WORKER_KEY_SECONDS = 10 * 365 * 86400.0
"""A worker that was invited stays until its key is revoked."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS grants (
  id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, user TEXT NOT NULL,
  roles TEXT NOT NULL, rooms TEXT NOT NULL, created REAL NOT NULL,
  expires REAL NOT NULL, created_by TEXT NOT NULL, revoked REAL);
CREATE TABLE IF NOT EXISTS sessions (
  hash TEXT PRIMARY KEY, id TEXT NOT NULL, user TEXT NOT NULL, roles TEXT NOT NULL,
  rooms TEXT NOT NULL, grant_id TEXT, created REAL NOT NULL, seen REAL NOT NULL);
"""


class AuthStore:
    """The sessions and grants of one data folder."""

    def __init__(
        self, path: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        """Open *path*, or keep everything in memory where it is None."""
        self.clock = clock
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
        if path is not None:
            path.chmod(0o600)
            self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        self._grants: dict[str, Grant] = {}
        self._sessions: dict[str, Session] = {}
        self._revoking: dict[str, frozenset[str]] = {}
        self._load()

    def _load(self) -> None:
        for row in self._database.execute("SELECT * FROM grants"):
            grant = Grant.of_row(GrantRow(*row))
            self._grants[grant.hash] = grant
        by_id = {grant.id: grant for grant in self._grants.values()}
        for found in self._database.execute("SELECT * FROM sessions"):
            row = SessionRow(*found)
            session = Session.of_row(row, by_id.get(row.grant_id or ""))
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

    def draft_grant(
        self,
        user: str,
        roles: Collection[Role],
        rooms: Collection[str],
        ttl: float,
        created_by: str,
    ) -> tuple[str, Grant]:
        """Return a token and a grant of *ttl* seconds that opens nothing yet."""
        token = make_credential(GRANT_PREFIX)
        now = self.clock()
        expires = now + ttl
        grant = Grant(
            make_id(GRANT_ID),
            digest(token),
            user,
            frozenset(roles),
            tuple(rooms),
            now,
            expires,
            created_by,
            lease=Lease(expires),
        )
        return token, grant

    def add_grant(self, grant: Grant) -> None:
        """
        Store a drafted grant; from now on its token opens what it says.

        Raises:
            NotStoredError: If the disk refuses; it then opens nothing.
        """
        self._write("INSERT INTO grants VALUES (?,?,?,?,?,?,?,?,?)", grant.as_row())
        self._grants[grant.hash] = grant

    def find_grant(self, token: str) -> Grant | None:
        """Return the live grant of *token*."""
        grant = self._grants.get(digest(token))
        return grant if grant and grant.is_live(self.clock()) else None

    def grants(self, *, with_ended: bool = False) -> list[Grant]:
        """Return the live grants, or all there ever were, oldest first."""
        now = self.clock()
        found = [g for g in self._grants.values() if with_ended or g.is_live(now)]
        return sorted(found, key=lambda grant: grant.created)

    def revoke_grant(self, grant_id: str) -> frozenset[str] | None:
        """
        End a grant and its sessions in this process, at once and without fail.

        Returns their ids, None if there is no such live grant. What was revoked and
        not confirmed yet (:meth:`confirm_revocation`) can be revoked again.
        """
        found = [grant for grant in self.grants() if grant.id == grant_id]
        if not found:
            return self._revoking.get(grant_id)
        grant = replace(found[0], revoked=self.clock())
        grant.lease.until = 0.0
        self._grants[grant.hash] = grant
        ended = {grant_id}
        for session in tuple(self._sessions.values()):
            if session.grant_id == grant_id:
                ended.add(session.id)
                self._forget(session)
        self._revoking[grant_id] = frozenset(ended)
        return self._revoking[grant_id]

    def save_revocation(self, grant_id: str) -> Grant:
        """
        Make a revocation outlive this process; return the grant.

        Raises:
            NotStoredError: If the disk refuses: a restart would bring the grant back.
        """
        grant = next(g for g in self._grants.values() if g.id == grant_id)
        self._write("UPDATE grants SET revoked=? WHERE id=?", (grant.revoked, grant_id))
        self._write("DELETE FROM sessions WHERE grant_id=?", (grant_id,))
        return grant

    def confirm_revocation(self, grant_id: str) -> None:
        """Note that all of a revocation is stored: there is nothing to repeat."""
        self._revoking.pop(grant_id, None)

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
        grant: Grant | None = None,
    ) -> str:
        """Store a session and return the value of its cookie."""
        self._drop_dead_sessions()
        cookie = make_credential(SESSION_PREFIX)
        now = self.clock()
        session = Session(
            digest(cookie),
            make_id(SESSION_ID),
            user,
            frozenset(roles),
            tuple(rooms),
            grant.id if grant else None,
            now,
            now,
            grant.lease.until if grant else float("inf"),
        )
        self._write("INSERT INTO sessions VALUES (?,?,?,?,?,?,?,?)", session.as_row())
        session.extend_lease()
        self._sessions[session.hash] = session
        return cookie

    def find_session(self, cookie: str) -> Session | None:
        """Return the live session of *cookie* and note that it was used."""
        session = self._sessions.get(digest(cookie))
        now = self.clock()
        if session is None or not session.is_live(now):
            return None
        if now - session.seen >= TOUCH_SECONDS:
            session = replace(session, seen=now)
            session.extend_lease()
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

    def end_session(self, cookie: str) -> str | None:
        """
        Sign a session out; return its id, None if there is none.

        Raises:
            NotStoredError: If the disk refuses; it has ended in this process.
        """
        session = self._sessions.get(digest(cookie))
        if session is None:
            return None
        self._end(session)
        return session.id

    def _end(self, session: Session) -> None:
        self._forget(session)
        self._write("DELETE FROM sessions WHERE hash=?", (session.hash,))

    def _forget(self, session: Session) -> None:
        session.lease.until = 0.0
        self._sessions.pop(session.hash, None)

    def _drop_dead_sessions(self) -> None:
        now = self.clock()
        for session in tuple(self._sessions.values()):
            if not session.is_live(now):
                self._end(session)
