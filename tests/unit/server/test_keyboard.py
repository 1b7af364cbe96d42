"""What a keyboard sends, told apart."""

import pytest

from vibehq_nb.core.errors import UsageError
from vibehq_server.cli.keyboard import CtrlKey, without_reports


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("ctrl-]", b"\x1d"),
        ("ctrl-]", b"\x1b[93;5u"),
        ("ctrl-]", b"\x1b[27;5;93~"),
        ("^P", b"\x10"),
        ("Ctrl-p", b"\x1b[112;5u"),
        ("ctrl-\\", b"\x1c"),
    ],
)
def test_a_key_is_found_however_a_terminal_writes_it(name: str, typed: bytes) -> None:
    key = CtrlKey.named(name)

    assert key.split(b"ab" + typed + b"cd") == (b"ab", True)
    assert key.split(b"ab") == (b"ab", False)


@pytest.mark.parametrize("name", ["", "enter", "ctrl-", "ctrl-pq", "alt-p", "]"])
def test_what_is_no_key_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no key"):
        CtrlKey.named(name)


@pytest.mark.parametrize(
    "report",
    [
        b"\x1b[24;80R",
        b"\x1b[?1;2c",
        b"\x1b[>41;354;0c",
        b"\x1b[0n",
        b"\x1b[?2026;2$y",
        b"\x1b[?1u",
        b"\x1b]11;rgb:0000/0000/0000\x07",
        b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
        b"\x1bP>|XTerm(388)\x1b\\",
        b"\x1b[8;24;80t",
        b"\x1b[I",
        b"\x1b[O",
        b"\x1b[<35;10;5M",
        b"\x1b[<64;10;5M",
    ],
)
def test_what_a_terminal_says_by_itself_is_no_keystroke(report: bytes) -> None:
    assert without_reports(b"l" + report + b"s") == b"ls"


@pytest.mark.parametrize(
    "keys",
    [
        b"echo \xf0\x9f\x98\x80\r",
        b"\x1b",
        b"\x1b[A\x1bOP\x1b[15~\x1b[1;5C",
        b"\x1b[1;2R",
        b"\x1b[200~pasted\x1b[201~",
        b"\x1b[<0;10;5M\x1b[<0;10;5m",
        b"\x1b]",
    ],
)
def test_keys_stay_as_they_are(keys: bytes) -> None:
    assert without_reports(keys) == keys
