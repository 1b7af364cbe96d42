"""Client sessions of a terminal that keep all they saw and typed, and their judge."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from tests.trust.fault_proxy import FaultProxy
from tests.trust.followers import Broken, judge_bytes
from vibehq_nb.client.http import Server
from vibehq_nb.client.replica import Output, Redraw, TerminalEvent
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.core.errors import VibeError
from vibehq_nb.core.ids import Position

KEY_SECONDS = 0.01
"""Between two keys."""
PAUSE_SECONDS = 0.2

History = list[tuple[str, Any]]


class Recorded(TerminalSession):
    """A session that keeps every frame and every dial in *history*."""

    history: History

    def _position(self) -> dict[str, str]:
        self.history.append(("dial", self.replica.position))
        return super()._position()

    def received(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self.history.append(("bytes", frame))
        else:
            plain = json.loads(frame)
            self.history.append((plain["type"], plain))
        super().received(frame)


class Watcher:
    """
    One viewer of *terminal*, by way of a proxy of its own; it may be killed.

    Attributes:
        history: Frames and dials of all its sessions, one after another.
        printed: What a person saw printed: where it stands, and the bytes.
    """

    def __init__(self, server: Server, terminal: str, proxy: FaultProxy) -> None:
        self.terminal = terminal
        self.proxy = proxy
        self.history: History = []
        self.printed: list[tuple[int, bytes]] = []
        self._server = server
        self.session = self._make(None)

    def _make(self, position: Position | None) -> Recorded:
        session = Recorded(self._server, self.terminal, "", position, 0.05)
        session.history = self.history
        session.listen(self._see)
        return session

    async def open(self) -> None:
        await self.session.__aenter__()

    async def close(self) -> None:
        await self.session.close()

    def _see(self, event: TerminalEvent) -> None:
        position = self.session.replica.position
        match event:
            case Output(content):
                assert position is not None
                self.printed.append((position.offset - len(content), content))
            case Redraw():
                assert position is not None
                self.printed.append((position.offset, b""))

    async def kill(self) -> None:
        """End as a killed process does, and begin anew where it was."""
        position = self.session.replica.position
        self.proxy.cut()
        await self.session.close()
        self.session = self._make(position)
        await self.open()

    @property
    def offset(self) -> int:
        """How far it is."""
        position = self.session.replica.position
        return position.offset if position else 0

    @property
    def epochs(self) -> set[str]:
        """Every life of the terminal it was told of."""
        return {
            frame["epoch"]
            for kind, frame in self.history
            if kind == "connected" and frame["epoch"]
        }

    def judge(self, printed: bytes) -> int:
        """Check that all of *printed* came once and in order; return what was lost."""
        (epoch,) = self.epochs
        reached, missing = judge_bytes(self.history, epoch, lambda a, b: printed[a:b])
        _expect(reached == len(printed), f"{self.terminal}: the end was reached")
        at = 0
        for start, content in self.printed:
            if content:
                _expect(start == at, f"what is shown follows what was, at {at}")
                end = start + len(content)
                _expect(printed[start:end] == content, f"shown as printed at {at}")
                at = end
            else:
                at = start
        _expect(at == len(printed), f"{self.terminal}: all that came was shown")
        return missing


def _expect(holds: bool, claim: str) -> None:
    if not holds:
        raise Broken(f"does not hold: {claim}")


class Typist:
    """
    Types numbered keys by the session of *watcher*, one after another.

    Attributes:
        taken: The numbers whose keys the terminal is known to have.
        unsure: Those that nobody acknowledged.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.taken: list[int] = []
        self.unsure: list[int] = []
        self._watcher = watcher
        self._next = 0

    async def run(self) -> None:
        """Type until cancelled."""
        while True:
            if not await self.type_next():
                await asyncio.sleep(PAUSE_SECONDS)  # nobody is there
            await asyncio.sleep(KEY_SECONDS)

    async def type_next(self) -> bool:
        """Type one number; tell whether it was acknowledged."""
        number, self._next = self._next, self._next + 1
        self.unsure.append(number)  # also if this is cancelled meanwhile
        session = self._watcher.session
        with suppress(VibeError):
            await session.type(b"%d;" % number)
            self.taken.append(self.unsure.pop())
            return True
        return False

    def judge(self, typed: bytes) -> int:
        """Check what reached the program; return how many of the unsure did."""
        numbers = [int(one) for one in typed.split(b";") if one]
        _expect(numbers == sorted(set(numbers)), "each key came once, and in order")
        _expect(set(self.taken) <= set(numbers), "what was acknowledged has arrived")
        unsure = set(numbers) - set(self.taken)
        _expect(unsure <= set(self.unsure), "nothing came that was not typed")
        return len(unsure)
