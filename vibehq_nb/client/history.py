"""What a terminal printed a moment ago, as bytes: a keyframe holds no marks."""

from vibehq_nb.client.http import Server
from vibehq_nb.client.replica import Output, Redraw, TerminalEvent
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.core.ids import Position

HISTORY_BYTES = 64 * 1024
PATIENCE_SECONDS = 5.0


async def recent_output(server: Server, terminal: str, head: Position) -> bytes:
    """
    Return about the last 64 KiB the terminal printed before *head*.

    Read over a connection of its own, which resumes from there. Empty when nothing
    is kept.
    """
    start = Position(head.epoch, max(head.offset - HISTORY_BYTES, 0))
    found: list[bytes] = []
    async with TerminalSession(server, terminal, position=start) as session:

        def keep(event: TerminalEvent) -> None:
            if isinstance(event, Output | Redraw):
                found.append(event.content)

        session.listen(keep)
        await session.until(session.holds_head, PATIENCE_SECONDS)
    return b"".join(found)
