"""What an operator reads: one line each, a room and a request id, nothing secret."""

import asyncio
import io
import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app_server import UPGRADE, send
from tests.integration.test_app import LINK, SERVE
from vibehq_nb.core.ids import RoomKey
from vibehq_server.auth.secrets import GRANT_PREFIX, make_credential
from vibehq_server.logs import JsonFormatter, TextFormatter


def written(formatter: logging.Formatter, *args: Any, **options: Any) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("vibehq_server.example")
    logger.addHandler(handler)
    logger.error(*args, **options)
    return stream.getvalue()


def test_a_json_line_says_when_who_what_and_in_which_room() -> None:
    room = RoomKey("ops", "main")
    extra = {"request_id": "r-1"}
    line = json.loads(written(JsonFormatter(), "%s: lost %d", room, 3, extra=extra))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "error",
        "logger": "vibehq_server.example",
        "message": "ops/main: lost 3",
        "room": "ops/main",
        "request_id": "r-1",
    }


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_control_characters_and_bidi_marks_are_escaped(
    formatter: logging.Formatter,
) -> None:
    hostile = "a\x1b[2J\r\x07\x00\u202e\u2028b"
    text = written(formatter, "user %s", hostile)
    assert all(char == "\n" or char.isprintable() for char in text)
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_credential_that_got_into_a_line_is_not_written(
    formatter: logging.Formatter,
) -> None:
    secret = make_credential(GRANT_PREFIX)
    text = written(formatter, "401 GET /%s%s", secret, secret)
    assert secret not in text
    assert "vhq_g_..." in text


def test_a_trace_stays_on_the_line_in_json() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        text = written(JsonFormatter(), "failed", exc_info=True)
    assert text.count("\n") == 1
    assert "ValueError: why" in json.loads(text)["trace"]


def test_a_server_writes_json_lines_without_queries_or_tokens(
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(
        [*SERVE, "--data", str(tmp_path), "--port", "0", "--log-format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    printed = ""
    while not (found := LINK.search(printed)):
        printed += process.stdout.readline()
    port = int(found.group(2))
    secret = "vhq_g_planted"
    shown = {"Authorization": f"Bearer {secret}"}
    path = f"/parties/ops/main?q={secret}"
    refused = asyncio.run(send(port, "GET", path, UPGRADE | shown))
    asyncio.run(send(port, "GET", f"/api/me?token={secret}", shown))
    process.terminate()
    _, errors = process.communicate(timeout=15)

    lines = [json.loads(line) for line in errors.splitlines()]
    told = [line for line in lines if "handshake refused" in line["message"]]
    assert [line["message"] for line in told] == [
        "/parties/ops/main: handshake refused, unauthenticated"
    ]
    assert told[0]["request_id"] == refused.json()["request_id"]
    assert secret not in errors
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert process.returncode == 0


def test_an_unknown_format_is_refused() -> None:
    done = subprocess.run(
        [*SERVE, "--log-format", "xml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert "Known: json, text" in done.stderr or "Did you mean" in done.stderr
