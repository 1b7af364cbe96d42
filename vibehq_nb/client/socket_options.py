"""What a socket is told when it is made: partysocket's options in snake case."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeVar, cast

from vibehq_nb.client.link import CloseEvent
from vibehq_nb.core.backoff import (
    GROW_FACTOR,
    MAX_DELAY,
    MIN_DELAY,
    MIN_UPTIME,
    Backoff,
)
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.party_url import Query

PROVIDER_SECONDS = 30.0

T = TypeVar("T")
Provider = Callable[[], T | Awaitable[T]]

Headers = Mapping[str, str]
Protocols = str | Sequence[str] | None


class SocketOptions(TypedDict, total=False):
    """The options of every socket; :class:`Settings` says what each means."""

    protocols: Protocols | Provider[Protocols]
    headers: Headers | Provider[Headers]
    min_reconnection_delay: float
    max_reconnection_delay: float
    reconnection_delay_grow_factor: float
    jitter: bool
    min_uptime: float
    connection_timeout: float
    max_retries: int | None
    max_enqueued_bytes: int
    start_closed: bool
    should_reconnect_on_close: Callable[[CloseEvent], bool] | None
    debug: bool
    on_open: Callable[[], object] | None
    on_message: Callable[[str | bytes], object] | None
    on_close: Callable[[CloseEvent], object] | None
    on_error: Callable[[Exception], object] | None


class PartyOptions(SocketOptions, total=False):
    """The options of a room's socket: where it is, and the query it is asked with."""

    host: str
    room: str
    party: str
    id: str
    base_path: str
    prefix: str
    path: str
    protocol: Literal["", "ws", "wss", "http", "https"]
    query: Query | Provider[Query] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """
    How a socket behaves. A provider is a function, or a coroutine function.

    Attributes:
        protocols: Subprotocols to offer, or their provider, asked before each try.
        headers: Sent with the handshake, or their provider, asked before each try.
            The place for a token: it never stands in a URL.
        min_reconnection_delay: Seconds before the first retry.
        max_reconnection_delay: Seconds no delay exceeds.
        reconnection_delay_grow_factor: Growth from one delay to the next.
        jitter: Whether up to a quarter is taken off each delay at random.
        min_uptime: Seconds a link has to hold before the delays begin anew.
        connection_timeout: Seconds one try may take.
        max_retries: Retries before it is given up; None for no end, 0 for one try.
        max_enqueued_bytes: Bytes that may wait to be sent. What would exceed them is
            refused: ``send`` returns False and ``on_error`` is told.
        start_closed: Dial only when ``reconnect()`` says so.
        should_reconnect_on_close: Decides for each close whether another try follows.
            Without it, close codes from 4500 on and the statuses 401 and 403 are final.
        debug: Log each step at INFO instead of DEBUG.
        on_open: Told that the link is up, after what was queued has been sent.
        on_message: Told each message. Without it, messages wait to be iterated over.
        on_close: Told each loss of a link and each try that failed.
        on_error: Told what went wrong; after a final one no try follows.
    """

    protocols: Protocols | Provider[Protocols] = None
    headers: Headers | Provider[Headers] = field(default_factory=dict)
    min_reconnection_delay: float = MIN_DELAY
    max_reconnection_delay: float = MAX_DELAY
    reconnection_delay_grow_factor: float = GROW_FACTOR
    jitter: bool = True
    min_uptime: float = MIN_UPTIME
    connection_timeout: float = 4.0
    max_retries: int | None = None
    max_enqueued_bytes: int = 1024 * 1024
    start_closed: bool = False
    should_reconnect_on_close: Callable[[CloseEvent], bool] | None = None
    debug: bool = False
    on_open: Callable[[], object] | None = None
    on_message: Callable[[str | bytes], object] | None = None
    on_close: Callable[[CloseEvent], object] | None = None
    on_error: Callable[[Exception], object] | None = None

    def backoff(self) -> Backoff:
        """Return a count of tries by these delays, at its begin."""
        return Backoff(
            self.min_reconnection_delay,
            self.max_reconnection_delay,
            self.reconnection_delay_grow_factor,
            self.min_uptime,
            self.max_retries,
        )


def socket_options(options: PartyOptions) -> SocketOptions:
    """Return those of *options* that every socket has."""
    return cast(SocketOptions, _only(SocketOptions, options))


def address_options(options: PartyOptions) -> dict[str, Any]:
    """
    Return those of *options* that say where a room is.

    Raises:
        UsageError: If there are others than a room's socket has.
    """
    known = PartyOptions.__annotations__.keys()
    if unknown := sorted(options.keys() - known):
        raise UsageError(f"A PartySocket has no option {unknown[0]}.")
    rest = options.keys() - SocketOptions.__annotations__.keys() - {"id", "query"}
    return {name: options[name] for name in rest}  # type: ignore[literal-required]  # names of the same dict


def _only(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    names = kind.__annotations__.keys()
    return {name: value for name, value in options.items() if name in names}


async def asked(
    url: str | Provider[str], settings: Settings
) -> tuple[str, Headers, Sequence[str]]:
    """
    Return the address, headers and subprotocols of the next try.

    Raises:
        TimeoutError: If their providers take longer than thirty seconds together.
        Exception: What a provider raises.
    """
    async with asyncio.timeout(PROVIDER_SECONDS):
        address = await provided(url)
        headers = await provided(settings.headers)
        protocols = await provided(settings.protocols) or ()
    return address, headers, [protocols] if isinstance(protocols, str) else protocols


async def provided(source: T | Provider[T]) -> T:
    """Return what *source* is, or what it provides if it is a function."""
    found = source() if callable(source) else source
    return cast(T, await found if inspect.isawaitable(found) else found)
