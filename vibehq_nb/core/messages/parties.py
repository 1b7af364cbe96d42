"""Which messages each party speaks, and in which direction."""

from vibehq_nb.core.messages.base import Message
from vibehq_nb.core.messages.hil import (
    AskApproval,
    CancelApproval,
    Decide,
    HilDecision,
    HilRequest,
    HilState,
    TaskState,
)
from vibehq_nb.core.messages.ops import (
    Emit,
    Event,
    FindingCreated,
    FindingResolved,
    FindingUpdated,
    ScanFailed,
    ScanProgress,
    ScanResult,
    ScanStart,
    Subscribe,
    Subscribed,
    WorkerScanResult,
)
from vibehq_nb.core.messages.rooms import (
    Accepted,
    Connected,
    Error,
    Gap,
    Presence,
    StateSnapshot,
    TerminalSnapshot,
    Tick,
)
from vibehq_nb.core.messages.terminal import (
    Ack,
    AskSizePolicy,
    ContainerConnected,
    ContainerDisconnected,
    Cwd,
    Exited,
    InputAck,
    InputAt,
    Recording,
    Resize,
    Resized,
    SizePolicyNow,
    TakeWriter,
    Title,
    Writer,
)
from vibehq_nb.core.messages.worker import (
    Cancel,
    CloseTerminal,
    Done,
    Failed,
    Freeze,
    Inspect,
    Scan,
    Signal,
    Spawn,
    StopWorker,
    Thaw,
    WorkerHello,
)
from vibehq_nb.core.messages.worker_terminal import (
    CommandEnded,
    CommandStarted,
    Frozen,
    Hello,
    InputFrom,
    Keyframe,
    Since,
    Watched,
)

UPSTREAM: dict[str, tuple[type[Message], ...]] = {
    "terminal": (Ack, InputAt, Resize, TakeWriter, AskSizePolicy),
    "worker": (),
    "ops": (Subscribe, Emit),
    "hil": (AskApproval, Decide, CancelApproval),
    "lobby": (),
    "grants": (),
    "terminal-log": (),
}
"""What people and notebooks may send, by party."""

FROM_WORKER: dict[str, tuple[type[Message], ...]] = {
    "terminal": (
        Hello,
        Since,
        TerminalSnapshot,
        Resized,
        Exited,
        Frozen,
        Title,
        Cwd,
        CommandStarted,
        CommandEnded,
        InputAck,
        Ack,
    ),
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
    "grants": (),
    "terminal-log": (),
}
"""What workers may send, by party."""

TO_WORKER: dict[str, tuple[type[Message], ...]] = {
    "terminal": (
        Connected,
        Since,
        Keyframe,
        Resize,
        Ack,
        InputFrom,
        Watched,
        Error,
    ),
    "worker": (
        Connected,
        Spawn,
        Inspect,
        Signal,
        CloseTerminal,
        StopWorker,
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
        SizePolicyNow,
        Title,
        Cwd,
        Recording,
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
    "grants": (Connected, Gap, StateSnapshot, Tick, Error, Event),
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
