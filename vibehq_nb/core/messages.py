"""
Every message on the wire, one struct each, and who speaks it.

Text frames hold one JSON object with a ``type`` in kebab-case and snake_case fields;
binary frames hold terminal bytes and nothing else. A message that is a log entry
carries ``offset``; the others are ephemeral and never move a position.
"""

from enum import IntEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

PROTOCOL = 1
"""The version of these messages; a server speaks this one and the one before."""

Cells = Annotated[int, Meta(ge=1, le=500)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
MessageId = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=4096)]
Words = Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=64)]
Object = dict[str, Any]


class Close(IntEnum):
    """
    Why an open socket is closed. Below 4500: come back and resume; from 4500: do not.

    Source of the split: Centrifuge's ``disconnect.go``.
    """

    RESTART = 1012
    TOO_BIG = 1009
    INTERNAL = 1011
    SLOW = 4408
    MOVED = 4409
    RATE = 4429
    SIGNED_OUT = 4501
    FORBIDDEN = 4503
    NO_SUCH_ROOM = 4504
    REPLACED = 4509
    ENDED = 4510
    PROTOCOL = 4511


def _tag(class_name: str) -> str:
    return "".join(
        f"-{char.lower()}" if char.isupper() and index else char.lower()
        for index, char in enumerate(class_name)
    )


FROZEN: Any = {"frozen": True}
"""Apart, because type checkers want ``frozen`` repeated on every subclass."""


class Message(
    msgspec.Struct, kw_only=True, tag_field="type", tag=_tag, gc=False, **FROZEN
):
    """One message; its ``type`` is the class's name in kebab-case or as given."""


# Every replicated room


class Connected(Message):
    """The first frame: what the room is, who you are in it, and what comes next."""

    protocol: int
    version: str
    connection: str
    user: str
    roles: list[str]
    epoch: str
    offset: Count
    oldest: Count
    resume: Literal["fresh", "resumed", "snapshot", "reset", "waiting"]
    reason: str = ""
    cols: int | UnsetType = UNSET
    rows: int | UnsetType = UNSET
    screen: Literal["vt", "tail"] | UnsetType = UNSET
    input: int | UnsetType | None = UNSET
    """Bytes of this input session that were accepted; null while nobody can tell."""
    writer: str | UnsetType | None = UNSET
    state: str | UnsetType = UNSET
    """A terminal's: running, exited or frozen."""


class Gap(Message):
    """The half-open range ``(from, to]`` will never be sent."""

    from_: Count = msgspec.field(name="from")
    to: Count
    reason: str


class StateSnapshot(Message, tag="snapshot"):
    """The whole state of an event room at a position."""

    epoch: str
    offset: Count
    state: Object


class TerminalSnapshot(Message, tag="snapshot"):
    """A keyframe at a position; binary frames totalling ``bytes`` follow."""

    epoch: str
    offset: Count
    cols: Cells
    rows: Cells
    bytes: Count


class Tick(Message):
    """How far this connection was served, filters included."""

    offset: Count


class Accepted(Message):
    """The message with this id is stored."""

    id: str
    offset: Count


class Error(Message):
    """A refusal; the connection stays. Never echoes input, never holds a trace."""

    code: str
    message: str
    id: str | UnsetType = UNSET


class Presence(Message):
    """Somebody joined or left a room."""

    event: Literal["joined", "left"]
    who: str
    roles: list[str]
    room: str


# Terminals


class Ack(Message):
    """Bytes up to this offset are parsed (viewer) or taken (room to worker)."""

    offset: Count


class InputAck(Message):
    """Keystrokes of a session up to this count are in the terminal's queue."""

    offset: Count
    session: str | UnsetType = UNSET
    """Which input session; set between worker and room only."""


class Resize(Message):
    """Ask for a size, in character cells."""

    cols: Cells
    rows: Cells


class Resized(Message):
    """From this offset on, output is meant for this size."""

    cols: Cells
    rows: Cells
    offset: Count


class TakeWriter(Message, tag="writer"):
    """Take the input lease, or give it back."""

    action: Literal["take", "give"]


class Writer(Message):
    """Who holds the input lease; null when it is free."""

    user: str | None
    idle_seconds: float = 0.0


class Title(Message):
    """The terminal's title as its program set it."""

    text: Text


class Exited(Message):
    """The shell ended; the offset is the end of its output."""

    offset: Count
    code: int | None = None
    signal: str | None = None


class ContainerConnected(Message):
    """The worker that holds this terminal is there."""

    worker: str


class ContainerDisconnected(Message):
    """The worker that holds this terminal is away; its shell may well run on."""

    worker: str
    reason: str


# A worker's terminal socket


class Hello(Message):
    """A worker's first frame on a terminal socket: what it holds."""

    protocol: int
    epoch: str
    oldest: Count
    offset: Count
    cols: Cells
    rows: Cells
    state: Literal["running", "exited", "frozen"]
    screen: Literal["vt", "tail"]
    inputs: dict[str, int]
    """Accepted bytes by input session."""
    code: int | None = None
    signal: str | None = None


class Since(Message):
    """Send what follows this offset."""

    offset: Count


class Keyframe(Message):
    """Send a snapshot."""


class InputFrom(Message):
    """The next binary frame is input of this session, starting at this count."""

    session: Name
    offset: Count


# A worker's control socket


class WorkerHello(Message):
    """A worker's first frame on its control socket."""

    protocol: int
    version: str
    worker: Name
    host: Text
    generation: Count
    """Milliseconds since 1970 at the worker's start; the higher one fences."""
    providers: list[str]
    terminals: list[str]


class Spawn(Message):
    """Open a terminal; answered when it runs."""

    id: MessageId
    terminal: Name
    target: Text = "local"
    """The provider and its object: ``local``, ``docker:web-1`` …"""
    command: list[str] | None = None
    cwd: str | None = None
    cols: Cells = 80
    rows: Cells = 24


class Inspect(Message):
    """Tell what a terminal does now; answered with ``foreground`` in the result."""

    id: MessageId
    terminal: Name


class Signal(Message):
    """Send a signal to a terminal's foreground job."""

    id: MessageId
    terminal: Name
    signal: Literal["HUP", "INT", "QUIT", "KILL", "TERM", "USR1", "USR2", "WINCH"]


class CloseTerminal(Message, tag="close"):
    """End a terminal: hang up, then terminate, then kill."""

    id: MessageId
    terminal: Name


class Freeze(Message):
    """Stop every process of a terminal."""

    id: MessageId
    terminal: Name


class Thaw(Message):
    """Let the processes of a terminal go on."""

    id: MessageId
    terminal: Name


class Scan(Message):
    """Run a scan on this host; progress and one result follow."""

    id: MessageId
    scan_id: Name
    scope: Literal["full", "incremental"]
    kinds: Words | None = None
    logs: Words = []
    filters: Object = {}
    deadline: float = 300.0
    """Seconds."""


class Cancel(Message):
    """Stop a scan."""

    id: MessageId
    scan_id: Name


class Done(Message):
    """The request with this id is carried out."""

    id: MessageId
    result: Object = {}


class Failed(Message):
    """The request with this id was not carried out."""

    id: MessageId
    code: str
    message: str


# Ops


class ScanStart(Message):
    """A scan was asked for and begins."""

    scan_id: str
    scope: str
    on: list[str]
    """The workers it runs on."""
    requested_by: str
    at: str
    offset: Count


class ScanProgress(Message):
    """How far a scan is; at most every 100 ms."""

    scan_id: str
    processed: Count
    total: Count
    phase: str
    on: str = ""


class WorkerScanResult(Message, tag="scan-result"):
    """What one worker found, before it is compared with the scan before."""

    scan_id: str
    processed_logs: Count
    started_at: str
    completed_at: str
    coverage: list[Object]
    findings: list[Object]


class ScanResult(Message):
    """A scan's one good end: stored, then sent."""

    scan_id: str
    scope: str
    on: list[str]
    processed_logs: Count
    issues_filed: Count
    status: Literal["completed"]
    started_at: str
    completed_at: str
    coverage: list[Object]
    findings: list[Object]
    changes: dict[str, int]
    offset: Count


class ScanFailed(Message):
    """A scan's other end."""

    scan_id: str
    code: str
    message: str
    offset: Count = 0
    """0 between worker and room."""


class Subscribe(Message):
    """Send only what passes these filters: severity, kinds, types."""

    filters: Object
    id: MessageId | UnsetType = UNSET


class Subscribed(Message):
    """The filters in force."""

    filters: Object


class FindingCreated(Message):
    """A finding that was not there before."""

    finding: Object
    offset: Count


class FindingUpdated(Message):
    """A known finding whose severity, measure or state changed."""

    finding: Object
    offset: Count


class FindingResolved(Message):
    """A finding that is gone."""

    finding: Object
    offset: Count


class Emit(Message, tag="event"):
    """Tell everybody of something: a deploy, a note."""

    name: Name
    data: Object = {}
    id: MessageId | UnsetType = UNSET


class Event(Message):
    """Something a worker or a notebook told."""

    name: str
    data: Object
    by: str
    at: str
    offset: Count


# Human in the loop


class AskApproval(Message, tag="hil-request", forbid_unknown_fields=True):
    """Ask for a decision on one exact action."""

    question: Annotated[str, Meta(min_length=1, max_length=2000)]
    action: Object
    kind: Literal["confirm", "review"]
    id: MessageId | UnsetType = UNSET
    reason: Text = ""
    risk: Literal["low", "medium", "high", "critical"] = "medium"
    task_id: Name | UnsetType = UNSET
    policy: Object = {}
    expires_in: Annotated[float, Meta(ge=1, le=7 * 86400)] = 3600.0
    """Seconds from acceptance; then the answer is no."""
    terminals: Words = []
    order_id: Text | None = None
    conversation_id: Text | None = None
    context: Object = {}


class HilRequest(Message):
    """A request as it stands."""

    approval_id: str
    kind: Literal["confirm", "review"]
    question: str
    action: Object
    action_digest: str
    risk: str
    reason: str
    policy: Object
    requested_by: str
    requested_at: str
    expires_at: str
    status: str
    version: int
    task_id: str | None
    order_id: str | None
    conversation_id: str | None
    context: Object
    decisions: list[Object]
    offset: Count


class Decide(Message, tag="hil-decision", forbid_unknown_fields=True):
    """Approve or reject exactly the action with this digest."""

    approval_id: Name
    version: Count
    verdict: Literal["approve", "reject"]
    action_digest: Annotated[str, Meta(min_length=64, max_length=64)]
    key: MessageId
    """Chosen by the decider: the same key gets the same answer."""
    reason: Annotated[str, Meta(max_length=2000)] = ""
    id: MessageId | UnsetType = UNSET


class HilDecision(Message):
    """A decision that is stored."""

    approval_id: str
    version: int
    verdict: str
    reason: str
    action_digest: str
    key: str
    decided_by: str
    status: str
    at: str
    offset: Count


class CancelApproval(Message, tag="hil-cancel", forbid_unknown_fields=True):
    """Withdraw a request of one's own."""

    approval_id: Name
    id: MessageId | UnsetType = UNSET


class HilState(Message):
    """What a task waits for, for everything that must freeze or thaw."""

    task_id: str
    state: Literal["paused", "review", "resumed"]
    approval_id: str
    reason: str
    deciders: list[str]
    expires_at: str
    offset: Count


class TaskState(Message):
    """Where a task is."""

    task_id: str
    name: str
    state: str
    step: str
    progress: float
    offset: Count


UPSTREAM: dict[str, tuple[type[Message], ...]] = {
    "terminal": (Ack, Resize, TakeWriter),
    "worker": (),
    "ops": (Subscribe, Emit),
    "hil": (AskApproval, Decide, CancelApproval),
    "lobby": (),
}
"""What people and notebooks may send, by party."""

FROM_WORKER: dict[str, tuple[type[Message], ...]] = {
    "terminal": (Hello, TerminalSnapshot, Resized, Exited, Title, InputAck, Ack),
    "worker": (
        WorkerHello,
        Done,
        Failed,
        ScanProgress,
        WorkerScanResult,
        ScanFailed,
        Emit,
    ),
    "ops": (Subscribe, Emit),
    "hil": (AskApproval, CancelApproval),
    "lobby": (),
}
"""What workers may send, by party."""

TO_WORKER: dict[str, tuple[type[Message], ...]] = {
    "terminal": (Connected, Since, Keyframe, Resize, Ack, InputFrom, Error),
    "worker": (
        Connected,
        Spawn,
        Inspect,
        Signal,
        CloseTerminal,
        Freeze,
        Thaw,
        Scan,
        Cancel,
        Error,
    ),
}
"""What workers are sent, by party."""

DOWNSTREAM: dict[str, tuple[type[Message], ...]] = {
    "terminal": (
        Connected,
        Gap,
        TerminalSnapshot,
        Resized,
        Writer,
        Title,
        Exited,
        ContainerConnected,
        ContainerDisconnected,
        InputAck,
        Accepted,
        Error,
        Presence,
        Tick,
    ),
    "ops": (
        Connected,
        Gap,
        StateSnapshot,
        Tick,
        Accepted,
        Error,
        ScanStart,
        ScanProgress,
        ScanResult,
        ScanFailed,
        Subscribed,
        FindingCreated,
        FindingUpdated,
        FindingResolved,
        Event,
    ),
    "hil": (
        Connected,
        Gap,
        StateSnapshot,
        Tick,
        Accepted,
        Error,
        HilRequest,
        HilDecision,
        HilState,
        TaskState,
    ),
    "lobby": (Connected, StateSnapshot, Tick, Error, Presence),
}
"""What people and notebooks are sent, by party."""


def _all_types() -> dict[str, type[Message]]:
    tables = (UPSTREAM, FROM_WORKER, TO_WORKER, DOWNSTREAM)
    return {
        kind.__name__: kind
        for table in tables
        for kinds in table.values()
        for kind in kinds
    }


MESSAGE_TYPES: dict[str, type[Message]] = _all_types()
"""Class name → struct, for every message there is."""


def type_of(message: Message) -> str:
    """Return the ``type`` a message has on the wire."""
    return str(message.__struct_config__.tag)
