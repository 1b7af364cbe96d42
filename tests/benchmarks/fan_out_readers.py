"""
Many clients in one process: they read, count, and time what is stamped.

``python -m tests.benchmarks.fan_out_readers URL COUNT STALLED``. The last STALLED of
them never read. On stdin a line ``{"messages": n, "size": s}`` asks to wait until each
of the others has got n messages of s bytes; the answer is their delays in
milliseconds, sorted and thinned to a thousand.
"""

import json
import resource
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SMALL = 16 * 1024


@dataclass
class Reader:
    """One connection."""

    socket: socket.socket
    seen: int = 0
    rest: bytearray = field(default_factory=bytearray)


def connect(url: str, is_stalled: bool) -> Reader:
    """Open a WebSocket; one that will not read holds little."""
    address = urlsplit(url)
    assert address.hostname is not None
    sock = socket.socket()
    if is_stalled:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    sock.connect((address.hostname, address.port))
    sock.sendall(HANDSHAKE.format(path=address.path, host=address.netloc).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    sock.setblocking(False)
    return Reader(sock)


def read(
    selector: selectors.BaseSelector, readers: list[Reader], messages: int, size: int
) -> list[float]:
    """Return the delay of each message to each reader, in milliseconds."""
    head = 2 if size < 126 else 4
    whole, delays = head + size, []
    waiting = len(readers)
    for reader in readers:
        reader.seen = 0
    deadline = time.monotonic() + 60
    while waiting and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            reader: Reader = key.data
            reader.rest += reader.socket.recv(1 << 20)
            now, at = time.perf_counter_ns(), 0
            while len(reader.rest) - at >= whole:
                stamp = int.from_bytes(reader.rest[at + head : at + head + 8], "big")
                delays.append((now - stamp) / 1e6)
                at += whole
                reader.seen += 1
            del reader.rest[:at]
            waiting -= at > 0 and reader.seen == messages
    return sorted(delays)


def say(**answer: Any) -> None:
    """Answer with a line of JSON."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(url: str, count: int, stalled: int) -> None:
    """Connect, and obey stdin until it ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    everybody = [connect(url, number >= count - stalled) for number in range(count)]
    readers = everybody[: count - stalled]
    selector = selectors.DefaultSelector()
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    say(connected=count)
    for line in sys.stdin:
        delays = read(selector, readers, **json.loads(line))
        seen = sum(reader.seen for reader in readers)
        thin = delays[:: max(1, len(delays) // 1000)]
        say(seen=seen, delays=thin)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
