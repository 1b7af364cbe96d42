"""
The scanning half of the ops room.

A scan has exactly one start and one end in the log, whoever asked and whatever
becomes of its workers or of the server.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from vibehq_nb.core.codec import check_plain
from vibehq_nb.core.errors import DeniedError, NotStoredError, VibeError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import (
    Cancel,
    Message,
    Scan,
    ScanFailed,
    ScanProgress,
    ScanStart,
    WorkerScanResult,
)
from vibehq_nb.core.roles import Role
from vibehq_server.identity import Identity
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.rooms.ops_board import Board, iso
from vibehq_server.rooms.ops_filters import decode_scan_filters
from vibehq_server.rooms.ops_scans import (
    Failure,
    Report,
    RunningScan,
    decode_report,
    names,
)

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

SCAN_SECONDS = 300.0
GRACE_SECONDS = 15.0
"""How much longer than the workers' own deadline the room waits for them."""
PROGRESS_SECONDS = 0.1
LOST_SECONDS = 5.0
MAX_RUNNING = 16


class ScanningRoom(ReplicatedRoom):
    """Asks workers to scan, and makes one result of what they say."""

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Know of nothing yet."""
        super().__init__(key, hub)
        self._board = Board()
        self._scans: dict[str, RunningScan] = {}
        self._was_started = False

    async def on_start(self, props: Mapping[str, Any]) -> None:
        """Read the log; what ran when the server stopped did not end well."""
        await super().on_start(props)
        if self._was_started:
            when = self.now + timedelta(seconds=LOST_SECONDS)
            self.call_at(when, self._fail_lost)
        else:
            self._was_started = True
            self._fail_lost()

    def _fail_lost(self) -> None:
        for scan_id in set(self._board.running) - set(self._scans):
            text = "The server lost this scan; ask for another one."
            self.append(ScanFailed(scan_id=scan_id, code="interrupted", message=text))

    # Scans: start

    def scan(
        self,
        identity: Identity,
        scope: str = "incremental",
        on: str | Sequence[str] = "*",
        kinds: Sequence[str] | None = None,
        logs: Sequence[str] | None = None,
        filters: dict[str, Any] | None = None,
    ) -> str:
        """
        Begin a scan and return its id; the workers are asked once it is stored.

        Raises:
            DeniedError: ``bad-request``, ``forbidden``, ``not-found`` for a worker
                that is not known, ``no-worker`` if one is away, ``busy``.
            DecodeError: For filters there are not.
        """
        if identity.roles.isdisjoint({Role.OPERATOR, Role.ADMIN}):
            raise DeniedError("forbidden", "Your role may not start scans.")
        if scope not in ("full", "incremental"):
            raise DeniedError("bad-request", "A scan's scope is full or incremental.")
        chosen = decode_scan_filters(filters or {})
        check_plain([list(kinds or ()), list(logs or ())])
        workers = self._workers(on)
        if len(self._board.running) >= MAX_RUNNING:
            raise DeniedError("busy", "Too many scans are running.")
        scan = RunningScan(
            f"scan-{secrets.token_hex(8)}",
            scope,
            workers,
            chosen,
            iso(self.now),
            kinds=None if kinds is None else tuple(kinds),
        )
        start = ScanStart(
            scan_id=scan.scan_id,
            scope=scope,
            on=workers,
            requested_by=identity.user,
            at=scan.started_at,
            offset=0,
        )
        self.append(start)
        self._scans[scan.scan_id] = scan
        asked = Scan(
            id="",
            scan_id=scan.scan_id,
            scope="full" if scope == "full" else "incremental",
            kinds=None if kinds is None else list(kinds),
            logs=list(logs or ()),
            filters=chosen.for_worker(),
            deadline=SCAN_SECONDS,
        )
        self.hub.spawn(self._ask(scan, asked), f"{scan.scan_id} of {self.key}")
        return scan.scan_id

    def _workers(self, on: str | Sequence[str]) -> list[str]:
        known, online = self.hub.directory.workers, self.hub.directory.online()
        if on == "*":
            if not online:
                text = "No worker is connected. Start one: vibehq worker."
                raise DeniedError("no-worker", text)
            return online
        wanted = sorted({on} if isinstance(on, str) else set(on))
        if not wanted:
            raise DeniedError("bad-request", "A scan needs at least one worker.")
        if not set(wanted) <= set(known):
            there = names(sorted(known))
            text = f"There is no such worker here. Workers here: {there}."
            raise DeniedError("not-found", text)
        if away := sorted(set(wanted) - set(online)):
            text = f"Not connected now: {names(away)}."
            raise DeniedError("no-worker", text)
        return wanted

    async def _ask(self, scan: RunningScan, asked: Scan) -> None:
        """Ask the workers, outside the actor: their answers have to get in."""
        try:
            await self.committed()
        except NotStoredError:
            self._scans.pop(scan.scan_id, None)
            return
        due = self.now + timedelta(seconds=SCAN_SECONDS + GRACE_SECONDS)
        self.call_at(due, partial(self._give_up, scan.scan_id))
        await asyncio.gather(*[self._ask_one(worker, asked) for worker in scan.on])

    async def _ask_one(self, worker: str, asked: Scan) -> None:
        try:
            room: Any = await self.hub.room("worker", worker)
            await room.request(asked)
        except DeniedError as error:
            failure = Failure(error.code, error.reason)
        except VibeError:
            failure = Failure("no-worker", f"Worker {worker} cannot be reached.")
        else:
            return
        await self.run(self._settle, asked.scan_id, worker, failure)

    async def _cancel(self, worker: str, scan_id: str) -> None:
        try:
            room: Any = await self.hub.room("worker", worker)
            await room.request(Cancel(id="", scan_id=scan_id))
        except VibeError as error:
            logger.debug("%s: cannot cancel on %s: %s", scan_id, worker, error)

    # Scans: what the workers' rooms report

    def progress(self, worker: str, message: ScanProgress) -> None:
        """Pass progress on, at most every 100 ms and always the last."""
        scan = self._scans.get(message.scan_id)
        if scan is None or not scan.waits_for(worker):
            return
        now = asyncio.get_running_loop().time()
        is_last = message.processed >= message.total
        if not is_last and now - scan.spoke_at.get(worker, 0.0) < PROGRESS_SECONDS:
            return
        scan.spoke_at[worker] = now
        self.broadcast_message(msgspec.structs.replace(message, on=worker))

    def result(self, worker: str, message: WorkerScanResult) -> None:
        """Take a worker's result; the last one ends the scan."""
        try:
            self._settle(message.scan_id, worker, decode_report(message))
        except msgspec.ValidationError as error:
            logger.warning("%s: bad result of %s: %s", self.key, worker, error)
            text = f"Worker {worker} sent a result that cannot be read; upgrade it."
            self._settle(message.scan_id, worker, Failure("bad-result", text))

    def failed(self, worker: str, message: ScanFailed) -> None:
        """Take a worker's failure; the last one ends the scan."""
        failure = Failure(message.code, message.message)
        self._settle(message.scan_id, worker, failure)

    def worker_gone(self, worker: str) -> None:
        """Wait no longer for a worker that is gone for good, or began anew."""
        failure = Failure("worker-gone", f"Worker {worker} went away during the scan.")
        for scan_id in tuple(self._scans):
            self._settle(scan_id, worker, failure)

    def _give_up(self, scan_id: str) -> None:
        scan = self._scans.get(scan_id)
        for worker in scan.missing if scan else ():
            self.hub.spawn(self._cancel(worker, scan_id), f"cancel {scan_id}")
            text = f"Worker {worker} sent no result in {SCAN_SECONDS:.0f} s."
            self._settle(scan_id, worker, Failure("deadline", text))

    def _settle(self, scan_id: str, worker: str, outcome: Report | Failure) -> None:
        scan = self._scans.get(scan_id)
        if scan is None or not scan.waits_for(worker):
            return  # it ended, or this worker spoke already
        scan.outcomes[worker] = outcome
        if scan.missing:
            return
        del self._scans[scan_id]
        for entry in self._conclude(scan):
            self.append(entry)

    def _conclude(self, scan: RunningScan) -> list[Message]:
        try:
            return scan.conclude(
                self._board.findings, self.now, self.hub.directory.workers
            )
        except Exception:
            # Whatever a worker's data did to the rules: the scan has its one end.
            logger.exception("%s: %s cannot be concluded", self.key, scan.scan_id)
            text = "The results of this scan could not be compared; see the server log."
            failed = ScanFailed(scan_id=scan.scan_id, code="bad-result", message=text)
            return [failed]
