"""How commands are typed, and how their output is told from everything else."""

import itertools
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.client.shell import (
    CLEAR_LINE,
    MAX_OUTPUT_BYTES,
    Capture,
    ShellState,
    typed_form,
)
from vibehq_nb.core.errors import UsageError


def shell(takes_paste: bool = False) -> ShellState:
    state = ShellState()
    if takes_paste:
        state.feed(b"\x1b[?2004h")
    return state


def test_one_line_is_typed_as_it_is() -> None:
    assert typed_form("df -h /", shell(), None) == CLEAR_LINE + b"df -h /\r"


def test_several_lines_are_pasted_where_the_shell_takes_it() -> None:
    keys = typed_form("a\nb", shell(takes_paste=True), None)

    assert keys == CLEAR_LINE + b"\x1b[200~a\nb\x1b[201~\r"


@pytest.mark.parametrize("command", ["", "  \n ", "a\x03b", "x\x1b[201~rm", "a\x00"])
def test_nothing_and_control_characters_are_refused(command: str) -> None:
    with pytest.raises(UsageError):
        typed_form(command, shell(takes_paste=True), None)


@pytest.mark.parametrize(
    "command",
    [
        "echo one\necho two",
        'for i in 1 2; do\n\techo "$i"\ndone',
        "echo 'a%sb' \\\n  \"c\\nd\"",
        "cat <<'END'\n$HOME `x` \\t\nEND\nfalse",
        "echo end # a comment",
        "sleep 0 &",
    ],
)
@pytest.mark.parametrize("word", [None, "k3y"])
def test_any_command_means_the_same_when_it_is_wrapped(
    command: str, word: str | None
) -> None:
    """What is typed runs in a real POSIX shell, as if the command were its script."""
    keys = typed_form(command, shell(), word)
    line = keys.removeprefix(CLEAR_LINE).removesuffix(b"\r")
    assert b"\n" not in line

    ran = subprocess.run(["sh"], input=line, capture_output=True, check=False)
    wanted = subprocess.run(
        ["sh"], input=command.encode(), capture_output=True, check=False
    )

    if word is None:
        assert (ran.stdout, ran.returncode) == (wanted.stdout, wanted.returncode)
        return
    capture = Capture(word)
    capture.feed(ran.stdout)
    assert capture.has_ended
    assert (capture.output, capture.exit_code) == (wanted.stdout, wanted.returncode)


def test_output_lies_between_the_marks() -> None:
    capture = Capture(None)

    capture.feed(b"$ ls\r\n\x1b]133;C\x07a b\r\n\x1b]133;D;0\x07\x1b]133;A\x07$ ")

    assert capture.output == b"a b\r\n"
    assert capture.exit_code == 0


def test_a_line_the_shell_cannot_read_is_refused() -> None:
    capture = Capture(None)

    capture.feed(b"if )\r\nsyntax error\r\n\x1b]133;A\x07$ \x1b]133;B\x07")

    assert capture.is_refused
    assert not capture.has_ended
    assert (capture.exit_code, capture.output) == (None, b"syntax error\r\n")


def test_lines_that_are_commands_one_after_another_end_with_the_last() -> None:
    capture = Capture(None)
    one = b"\x1b]133;C\x07one\r\n\x1b]133;D;0\x07"

    capture.feed(b"\x1b]133;A\x07$ one\r\n" + one)
    assert not capture.has_ended

    capture.feed(b"\x1b]133;C\x07two\r\n\x1b]133;D;4\x07\x1b]133;A\x07$ ")
    assert (capture.has_ended, capture.is_refused) == (True, False)
    assert (capture.exit_code, capture.output) == (4, b"one\r\ntwo\r\n")


def test_marks_of_another_shell_are_not_the_commands() -> None:
    capture = Capture(None)
    inner = b"\x1b]133;D;0;aid=9\x07\x1b]133;A;aid=9\x07\x1b]133;D;0\x07"

    capture.feed(b"\x1b]133;C;cmdline_url=x;aid=7\x07a" + inner + b"b")
    assert not capture.has_ended

    capture.feed(b"\x1b]133;D;3;aid=7\x07\x1b]133;A;aid=7\x07")
    assert (capture.exit_code, capture.output) == (3, b"ab")


def test_a_keyframe_ends_what_was_known_of_the_prompt() -> None:
    state = shell()
    state.feed(b"\x1b]133;A\x07$ \x1b]133;B\x07")

    state.redraw(b"\x1bc$ \x1b[?2004h")

    assert (state.has_marks, state.is_at_prompt, state.takes_paste) == (0, 0, True)


def test_marks_without_the_word_are_output_of_the_command() -> None:
    capture = Capture("w0rd")

    capture.feed(b"\x1b]133;C;w0rd\x07a\x1b]133;D;0\x07b\x1b]133;D;3;w0rd\x07")

    assert capture.output == b"ab"
    assert capture.exit_code == 3


def test_an_end_that_is_taken_back_loses_nothing() -> None:
    capture = Capture(None)
    capture.feed(b"\x1b]133;C\x07before\x1b]133;D;0\x07after")

    capture.go_on()
    capture.feed(b" end\x1b]133;D;5\x07")

    assert capture.output == b"beforeafter end"
    assert capture.exit_code == 5


def test_output_is_bounded_and_says_so() -> None:
    capture = Capture(None)
    capture.feed(b"\x1b]133;C\x07")

    capture.feed(bytes(MAX_OUTPUT_BYTES + 1))

    assert capture.is_cut
    assert len(capture.output) == MAX_OUTPUT_BYTES


@given(st.lists(st.integers(0, 60), max_size=6))
def test_any_split_gives_the_same_result(cuts: list[int]) -> None:
    stream = b"echo\r\n\x1b]133;C\x07out\x1b[0m put\r\n\x1b]133;D;7\x07\x1b]133;A\x07$ "
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    capture = Capture(None)

    for start, end in itertools.pairwise(edges):
        capture.feed(stream[start:end])

    assert (capture.output, capture.exit_code) == (b"out\x1b[0m put\r\n", 7)


def test_the_shell_is_at_its_prompt_after_a_prompts_mark() -> None:
    state = shell()
    assert not state.has_marks

    state.feed(b"\x1b]133;A\x07$ \x1b]133;B\x07")
    assert (state.has_marks, state.is_at_prompt) == (True, True)

    state.feed(b"read x\r\n\x1b]133;C\x07")
    assert state.is_at_prompt is False


def test_paste_mode_follows_the_newest_switch_wherever_it_is_cut() -> None:
    state = shell()
    for byte in b"x\x1b[?2004h":
        state.feed(bytes([byte]))
    assert state.takes_paste

    state.feed(b"\x1b[?2004l")
    assert not state.takes_paste


def test_older_output_tells_what_newer_does_not() -> None:
    state = shell()

    state.recall(b"\x1b]133;A\x07$ \x1b]133;B\x07\x1b[?2004h")

    assert (state.has_marks, state.is_at_prompt, state.takes_paste) == (True,) * 3
