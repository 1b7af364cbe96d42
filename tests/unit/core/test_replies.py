"""What a terminal answers by itself is no typing."""

import pytest

from vibehq_nb.core.replies import MAX_REPLY_BYTES, is_reply


@pytest.mark.parametrize(
    "typed",
    [
        b"\x1b[24;80R",
        b"\x1b[?1;2c",
        b"\x1b[>0;276;0c",
        b"\x1b[=0c",
        b"\x1b[0n",
        b"\x1b[?62;1;6;22c\x1b[>1;10;0c",
        b"\x1b[?2026;2$y",
        b"\x1b[4;2$y",
        b"\x1b[8;24;80t",
        b"\x1b[?0u",
        b"\x1b[I",
        b"\x1b[O",
        b"\x1bP1$r0m\x1b\\",
        b"\x1bP!|00000000\x1b\\",
        b"\x1b]11;rgb:0000/0000/0000\x07",
        b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
        b"\x1b]52;c;c2VjcmV0\x07",
    ],
)
def test_an_answer_of_a_terminal_is_a_reply(typed):
    assert is_reply(typed)


@pytest.mark.parametrize(
    "typed",
    [
        b"",
        b"ls\r",
        b"\x1b",
        b"\x1b[A",
        b"\x1bOP",
        b"\x1b[1;2R",  # shift and F3
        b"\x1b[15~",
        b"\x1b[200~pasted\x1b[201~",
        b"\x1b[<0;10;10M",
        b"\x1b[24;80Rls\r",
        b"\x1b]11;rgb:0/0/0\x07\r",
        b"\x1b]" + b"x" * MAX_REPLY_BYTES + b"\x07",
        b"\x1b[97;5u",
    ],
)
def test_what_people_type_is_no_reply(typed):
    assert not is_reply(typed)
