"""Every error says what to do next, in these very words."""

import pytest

from vibehq_nb.client.commands import CommandResult
from vibehq_nb.client.decisions import Decision, _judge
from vibehq_nb.client.errors import (
    CommandFailedError,
    ExpiredError,
    NotWriterError,
    RejectedError,
    TerminalBusyError,
    WithdrawnError,
    duration_text,
    shorten,
)


def test_a_failed_command() -> None:
    output = "\n".join(f"line {number}" for number in range(9))
    result = CommandResult("systemctl restart x", 1, output, 0.42, "web-1")

    assert str(CommandFailedError(result, "web-1")) == (
        '"systemctl restart x" exited 1 on web-1 after 0.4 s. Last lines:\n'
        "  line 4\n  line 5\n  line 6\n  line 7\n  line 8\n"
        "Pass check=False to continue."
    )


def test_a_failed_command_without_output() -> None:
    result = CommandResult("false", 1, "", 0.01, "web-1")

    assert str(CommandFailedError(result, "web-1")) == (
        '"false" exited 1 on web-1 after 0.0 s. It printed nothing. '
        "Pass check=False to continue."
    )


def test_a_busy_terminal() -> None:
    assert str(TerminalBusyError("vim", "web-1", "bob", "02:13")) == (
        "vim is running in web-1 (bob, 02:13). Use new=True."
    )
    assert str(TerminalBusyError("vim", "web-1", "", "")) == (
        "vim is running in web-1. Use new=True."
    )


def test_somebody_else_is_typing() -> None:
    assert str(NotWriterError("ana", 2.2, "web-1")) == (
        "ana is typing in web-1 (2 s ago). term.take_control()."
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (133.4, "02:13"),
        (3600, "1:00:00"),
        (498 * 3600 + 61, "498:01:01"),
        (-0.5, "00:00"),
        (None, ""),
        ("soon", ""),
    ],
)
def test_how_long_a_program_runs(seconds: object, text: str) -> None:
    assert duration_text(seconds) == text


def decision(status: str, by: str = "", reason: str = "") -> Decision:
    return Decision("id", status, by, reason, "", "Restart web-1?", "0" * 64)


def test_a_rejection_says_who_and_why() -> None:
    with pytest.raises(RejectedError) as caught:
        _judge(decision("rejected", "ana", "not on a Friday"))

    assert str(caught.value) == 'ana rejected "Restart web-1?": not on a Friday'
    assert caught.value.decision.decided_by == "ana"


def test_silence_is_a_no() -> None:
    with pytest.raises(ExpiredError, match="Nobody answered"):
        _judge(decision("expired"))


@pytest.mark.parametrize("status", ["cancelled", "superseded"])
def test_a_request_that_is_withdrawn(status: str) -> None:
    with pytest.raises(WithdrawnError, match=status):
        _judge(decision(status))


def test_an_approval_is_returned_and_reads_the_same_at_every_run() -> None:
    assert repr(_judge(decision("approved", "bob"))) == "<decision: approved by bob>"


def test_a_long_command_is_shortened() -> None:
    assert shorten("x" * 200) == "x" * 79 + "…"
    assert shorten("one\ntwo") == "one …"
