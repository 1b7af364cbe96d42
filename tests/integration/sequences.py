"""
The sequences for which keyframe and tail equal the whole, in both terminals.

Text of one and two columns, controls, cursor movement, erasing, inserting, deleting,
styles, modes, margins, origin mode, saved cursor, alternate screen (1049), character
sets, tab stops, cursor shapes and titles. What is left out because the two terminals
differ is in `tests/integration/test_keyframe_deviations.py`.
"""

from hypothesis import strategies as st

Strategy = st.SearchStrategy[bytes]


def csi(final: bytes, *ranges: tuple[int, int]) -> Strategy:
    """Return sequences with one number of each range."""
    numbers = st.tuples(*(st.integers(*limits) for limits in ranges))
    return numbers.map(
        lambda found: b"\x1b[" + b";".join(b"%d" % one for one in found) + final
    )


def of(*choices: bytes) -> Strategy:
    return st.sampled_from(choices)


def together(*parts: Strategy) -> Strategy:
    return st.tuples(*parts).map(b"".join)


def some(item: Strategy, count: int) -> Strategy:
    return st.lists(item, max_size=count).map(b"".join)


WIDE = ("漢字".encode(), "😀".encode())
TEXT = of(b"a", b"hello", b"x" * 17, *WIDE, b" ", b"\r\n", b"\r", b"\n", b"\b", b"\t")
PLACE = csi(b"H", (1, 8), (1, 20))
MOVE = st.one_of(
    *(csi(final, (1, 9)) for final in (b"A", b"B", b"C", b"D", b"E", b"F", b"d", b"G")),
    of(b"\x1bM", b"\x1bD", b"\x1bE"),
    PLACE,
)
ERASE = st.one_of(
    of(b"\x1b[J", b"\x1b[2J"),
    csi(b"K", (0, 2)),
    *(csi(final, (1, 9)) for final in (b"X", b"@", b"P", b"L", b"M", b"T")),
)
STYLE = of(
    *(b"\x1b[%sm" % one for one in (b"0", b"31", b"44", b"1", b"7", b"4", b"39")),
    *(b"\x1b[38;5;123m", b"\x1b[48;2;1;2;3m", b"\x1b[97;104m", b"\x1b[3;9m"),
)
MODE = of(
    *(
        b"\x1b[?%d%c" % (n, c)
        for n in (1, 7, 25, 1002, 1004, 1006, 2004)
        for c in b"hl"
    ),
    *(b"\x1b=", b"\x1b>", b"\x1b[4h", b"\x1b[4l"),
)
SAVED = together(of(b"\x1b7"), STYLE, PLACE, of(b"a", b"xyz"), of(b"\x1b8"))
INLINE = st.one_of(TEXT, MOVE, ERASE, STYLE, MODE, SAVED)
MARGINS = together(of(b"\x1b[2;6r", b"\x1b[3;8r"), some(INLINE, 8), of(b"\x1b[r"))
ORIGIN = together(
    of(b"\x1b[2;6r\x1b[?6h", b"\x1b[3;8r\x1b[?6h"),
    some(st.one_of(TEXT, PLACE, ERASE, STYLE), 8),
    of(b"\x1b[?6l\x1b[r"),
)
ALTERNATE = together(
    of(b"\x1b[0m\x1b[?1049h"),
    some(st.one_of(INLINE, MARGINS, ORIGIN), 10),
    of(b"\x1b[?1049l"),
)
OTHER = of(
    *(b"\x1b(0", b"\x1b(B"),
    *(b"\x1b[5 q", b"\x1b[4 q", b"\x1b[2 q", b"\x1b]0;title\x07", b"\x1b]2;t\x1b\\"),
)


TABS = of(b"\x1bH", b"\x1b[g", b"\x1b[3g", b"\t", b"\x1b[2I", b"\x1b[2Z")
USUAL = st.one_of(INLINE, INLINE, MARGINS, ORIGIN, OTHER)


def streams() -> Strategy:
    """Return streams of up to 25 of these; tab stops or alternate screens."""
    return some(st.one_of(USUAL, ALTERNATE), 25) | some(st.one_of(USUAL, TABS), 25)
