"""Closes terminals that nobody has used for long."""

import asyncio
from collections.abc import Hashable, Iterable

from vibehq_nb.worker.fronts import front_of
from vibehq_nb.worker.terminal import Terminal


class Idleness:
    """
    How long each terminal has been idle. Pure: time and facts come in.

    One is idle while nothing is printed or typed and nothing keeps it.
    """

    def __init__(self) -> None:
        """Know of no terminal."""
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def note(self, name: str, traffic: Hashable, is_kept: bool, now: float) -> float:
        """
        Return for how many seconds the terminal *name* has been idle by *now*.

        Args:
            name: The terminal and its life: another life begins anew.
            traffic: Whatever changes when bytes go in or out.
            is_kept: Whether something keeps it.
            now: Seconds of one clock.
        """
        before, since = self._seen.get(name, (None, now))
        if is_kept or before != traffic:
            since = now
        self._seen[name] = (traffic, since)
        return now - since

    def keep_only(self, names: set[str]) -> None:
        """Forget all others."""
        self._seen = {name: self._seen[name] for name in names & self._seen.keys()}


class Culler:
    """
    Finds the terminals to close: idle for *seconds*.

    A job in front, somebody who watches and a freeze each keep a terminal; so does a
    place that does not tell whether a job runs.
    """

    def __init__(self, seconds: float | None) -> None:
        """Find them after *seconds*; None: never."""
        self.seconds = seconds
        self._idleness = Idleness()

    async def due(self, terminals: Iterable[Terminal], now: float) -> list[Terminal]:
        """Return those that have been idle for long enough by *now*."""
        if self.seconds is None:
            return []
        found = []
        running = [one for one in tuple(terminals) if one.state != "exited"]
        kept = await asyncio.gather(*map(is_kept, running))
        for one, was_kept in zip(running, kept, strict=True):
            is_in_use = was_kept or is_used(one)  # somebody came while we asked
            idle = self._idleness.note(one.epoch, one.traffic, is_in_use, now)
            if idle >= self.seconds:
                found.append(one)
        self._idleness.keep_only({one.epoch for one in running})
        return found


async def is_kept(terminal: Terminal) -> bool:
    """Tell whether something keeps *terminal*, however silent it is."""
    return is_used(terminal) or (await front_of(terminal)).is_busy


def is_used(terminal: Terminal) -> bool:
    """Tell whether somebody watches *terminal* or has it frozen."""
    return terminal.watchers > 0 or terminal.state == "frozen"
