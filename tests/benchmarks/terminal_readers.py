"""
Many viewers of one terminal in one process: they read, and keep nothing.

``python -m tests.benchmarks.terminal_readers URL HEADERS COUNT``, the headers as JSON.
On stdin a line ``{"until": text}`` asks to wait until each of them has seen it; the
answer is how many bytes they were sent since the last one.
"""

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)


@dataclass
class Reader:
    """One viewer, and the end of what it has seen."""

    socket: socket.socket
    tail: bytes = b""


def connect(url: str, headers: dict[str, str]) -> Reader:
    """Open a WebSocket."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    sock = socket.create_connection((parts.hostname, parts.port or 80))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    path = f"{parts.path}?{parts.query}"
    asked = HANDSHAKE.format(path=path, host=parts.netloc, headers=lines)
    sock.sendall(asked.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    sock.setblocking(False)
    return Reader(sock)


def read(selector: selectors.BaseSelector, readers: list[Reader], text: bytes) -> int:
    """Read until each has seen *text*; return the bytes that came."""
    received = 0
    waiting = {id(reader) for reader in readers}
    deadline = time.monotonic() + 240
    while waiting and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            reader: Reader = key.data
            part = reader.socket.recv(1 << 18)
            received += len(part)
            seen = reader.tail + part
            if text in seen:
                waiting.discard(id(reader))
            reader.tail = seen[-len(text) :]
    assert not waiting, "some never saw the end"
    return received


def say(**answer: int) -> None:
    """Answer with a line of JSON."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(url: str, headers: str, count: str) -> None:
    """Connect, and obey stdin until it ends."""
    readers = [connect(url, json.loads(headers)) for _ in range(int(count))]
    selector = selectors.DefaultSelector()
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    say(connected=len(readers))
    for line in sys.stdin:
        say(received=read(selector, readers, json.loads(line)["until"].encode()))


if __name__ == "__main__":
    main(*sys.argv[1:])
