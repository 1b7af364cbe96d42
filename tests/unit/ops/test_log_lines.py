from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.ops.log_lines import LineDecoder

LATEST = datetime(2026, 11, 22, 12, tzinfo=UTC)
TEN = int(datetime(2026, 11, 22, 10, 0, 5, tzinfo=UTC).timestamp())
DECODER = LineDecoder(UTC, LATEST)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:00:05Z INFO x",
        "2026-11-22T10:00:05.123456+00:00 x",
        "2026-11-22 11:00:05,123 +0100 x",
        "[2026-11-22 10:00:05] app.ERROR: x",
        "2026/11/22 10:00:05 [error] 12#0: x",
        "Nov 22 10:00:05 host sshd[1]: x",
        "<11>Nov 22 10:00:05 host sshd[1]: x",
        '1.2.3.4 - - [22/Nov/2026:10:00:05 +0000] "GET / HTTP/1.1" 200 1',
        "[Sun Nov 22 10:00:05.123456 2026] [core:error] x",
        "22-Nov-2026 10:00:05.123 SEVERE [main] x",
        "E1122 10:00:05.123456   12 x.go:1] x",
        '{"time":1795341605123,"msg":"x"}',
        '{"ts":1795341605.5,"msg":"x"}',
        '{"@timestamp":"2026-11-22T10:00:05.000Z","message":"x"}',
        "2026-11-22T10:00:05.123456789Z stderr F x",
        '{"log":"x\\n","stream":"stderr","time":"2026-11-22T10:00:05.1Z"}',
    ],
)
def test_times_are_read_in_every_usual_form(text: str) -> None:
    assert DECODER.decode(text.encode()).seconds == TEN


def test_a_time_without_a_zone_is_the_hosts() -> None:
    decoder = LineDecoder(timezone(timedelta(hours=2)), LATEST)

    assert decoder.decode(b"2026-11-22 12:00:05 x").seconds == TEN


def test_a_date_without_a_year_is_never_in_the_future() -> None:
    new_year = LineDecoder(UTC, datetime(2027, 1, 1, 0, 5, tzinfo=UTC))

    seconds = new_year.decode(b"Dec 31 23:59:00 host x").seconds

    assert seconds == int(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2026-11-22 10:00:05 ERROR x", 17),
        ("2026-11-22 10:00:05 INFO served the ERROR page", 9),
        ("WARNING:root:x", 13),
        ("level=error msg=x", 17),
        ("[error] x", 17),
        ("[core:crit] x", 18),
        ("Nov 22 10:00:05 host sshd[1]: error: x", 17),
        ("Nov 22 10:00:05 host sshd[1]: fatal: x", 21),
        ("Nov 22 10:00:05 host sshd[1]: no errors here", None),
        ("<11>Nov 22 10:00:05 host x", 17),
        ("<14>Nov 22 10:00:05 host x", 9),
        ("E1122 10:00:05.1 1 x.go:1] x", 17),
        ('1.2.3.4 - - [x] "GET / HTTP/1.1" 503 1', 17),
        ('1.2.3.4 - - [x] "GET / HTTP/1.1" 404 1', 9),
        ('{"level":50,"msg":"x"}', 17),
        ('{"level":30,"msg":"an ERROR word"}', 9),
        ('{"level":60}', 21),
        ('{"severity":"CRITICAL"}', 18),
        ('{"log":{"level":"warn"}}', 13),
        ('{"log":"ERROR x\\n","stream":"stderr","time":"x"}', 17),
        ("2026-11-22T10:00:05.123456789Z stdout F ERROR x", 17),
        ("just words", None),
    ],
)
def test_levels_become_severity_numbers(text: str, number: int | None) -> None:
    assert DECODER.decode(text.encode()).number == number


def test_a_stack_in_a_json_field_is_found() -> None:
    stack = "TypeError: x\\n    at f (a:1:2)"

    line = DECODER.decode(f'{{"level":50,"err":{{"stack":"{stack}"}}}}'.encode())

    assert line.stack.startswith("TypeError: x\n")


@given(st.binary())
def test_no_bytes_make_the_decoder_fail(raw: bytes) -> None:
    DECODER.decode(raw)
    DECODER.decode(b"{" + raw)
    DECODER.decode(b"2026-99-22T10:00:05Z " + raw)
