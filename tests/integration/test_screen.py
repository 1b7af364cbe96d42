"""What libghostty-vt makes of a stream, and what its keyframes hold of it."""

import random
from pathlib import Path

import pytest

from tests.integration.recordings import COLS, ROWS
from vibehq_nb.client.screen import GhosttyScreen
from vibehq_nb.core.screen import KEYFRAME_BYTES


def fed(*outputs: bytes, cols: int = COLS, rows: int = ROWS) -> GhosttyScreen:
    screen = GhosttyScreen(cols, rows)
    for output in outputs:
        screen.feed(output)
    return screen


def seen(screen: GhosttyScreen) -> tuple[str, str, tuple[int, int]]:
    return screen.text(), screen.text(2000), screen.cursor


def test_a_keyframe_leaves_the_screen_as_it_was() -> None:
    stream = b"primary\r\n\x1b[31m$ \x1b[?1049h\x1b[2;9r\x1b[?6h\x1b[2;5Halt\x1b[1;32m"
    asked, left_alone = fed(stream), fed(stream)

    for _ in range(3):
        asked.keyframe()
        assert seen(asked) == seen(left_alone)
    for screen in (asked, left_alone):
        screen.feed(b"more\x1b[?6l\x1b[r\x1b[?1049lback")

    assert seen(asked) == seen(left_alone)
    assert asked.keyframe() == left_alone.keyframe()


def test_leaving_the_alternate_screen_shows_the_primary_to_a_joiner() -> None:
    screen = fed(b"one\r\ntwo\r\nprompt$ \x1b[?1049h\x1b[Hvim is here")

    joined = fed(screen.keyframe())

    assert joined.text() == screen.text() == "vim is here"
    joined.feed(b"\x1b[?1049lx")
    assert joined.text() == "one\ntwo\nprompt$ x"
    assert joined.cursor == (9, 2)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_cut_inside_a_sequence_or_a_character_shows_no_trace(cut: int) -> None:
    for whole in (b"\x1b[38;5;123mred", "漢😀é漢".encode(), b"\x1b]0;title\x07ok"):
        screen = fed(b"before ", whole[:cut])

        joined = fed(screen.keyframe(), whole[cut:])

        assert seen(joined) == seen(fed(b"before ", whole))


def test_a_keyframe_inside_a_sequence_on_the_alternate_screen_is_whole() -> None:
    start = b"primary\x1b[?1049h\x1b[Halternate\x1b]0;a long ti"
    screen = fed(start)

    joined = fed(screen.keyframe())

    for one in (joined, screen):
        one.feed(b"tle\x07!")
        assert one.text() == "alternate!"
        assert one.title == "a long title"
        one.feed(b"\x1b[?1049l")
        assert one.text() == "primary"


def test_scrollback_is_kept_and_wraps_anew() -> None:
    lines = b"".join(b"line %d %s\r\n" % (n, b"w" * 150) for n in range(500))
    screen = fed(lines)

    joined = fed(screen.keyframe())
    for one in (screen, joined):
        one.resize(60, ROWS)

    assert screen.text(2000).startswith("line 0 www")
    assert seen(joined) == seen(screen)


def test_two_thousand_lines_are_kept() -> None:
    screen = fed(b"".join(b"%d\r\n" % n for n in range(5000)))

    text = fed(screen.keyframe()).text(2000).split("\n")

    assert len(text) > 1900
    assert text[-1] in {"4999", ""}


def test_a_large_keyframe_halves_its_scrollback() -> None:
    colors = b"".join(b"\x1b[38;5;%dmx" % (n % 256) for n in range(COLS))
    screen = fed(*[b"%d " % n + colors[: 12 * 60] + b"\r\n" for n in range(2000)])

    frame = screen.keyframe()

    assert 10_000 < len(frame) <= KEYFRAME_BYTES
    assert fed(frame).text() == screen.text()


def test_nothing_is_answered_and_queries_are_not_repeated() -> None:
    screen = fed(b"\x1b[6n\x1b[c\x1b]11;?\x07text")

    frame = screen.keyframe()

    assert b"[6n" not in frame
    assert b"[c" not in frame
    assert b"?\x07" not in frame


def test_html_is_escaped_and_carries_no_link() -> None:
    screen = fed(
        b'<script>&\x1b[31m"red"\x1b[0m ',
        b"\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07",
    )

    html = screen.html()

    assert html.startswith('<pre style="font-family: monospace')
    assert "&lt;script&gt;&amp;" in html
    assert '<span style="color: #cc0000;">&quot;red&quot;</span>' in html
    assert "javascript" not in html
    assert html.count("<span") == html.count("</span>")
    assert html.endswith("</pre>")


def test_random_streams_are_right_at_the_cut(tmp_path: Path) -> None:
    words = [
        *(b"hello ", b"x" * 37, "漢字".encode(), b"\r\n", b"\n", b"\t", b"\x1bM"),
        *(b"\x1b[31m", b"\x1b[0m", b"\x1b[44m", b"\x1b[K", b"\x1b[2J", b"\x1b[H"),
        *(b"\x1b[2;6r", b"\x1b[r", b"\x1b[?6h", b"\x1b[?6l", b"\x1b7", b"\x1b8"),
        *(b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?47h", b"\x1b[?47l", b"\x1b[4h"),
        *(b"\x1b[4l", b"\x1b[?7l", b"\x1b[?7h", b"\x1b(0qq\x1b(B", b"\x1b[3P"),
    ]
    for seed in range(300):
        rng = random.Random(seed)
        stream = b"".join(rng.choices(words, k=rng.randint(5, 100)))
        cut = rng.randint(0, len(stream))
        screen = fed(stream[:cut], cols=20, rows=8)
        before = seen(screen)

        frame = screen.keyframe()

        assert seen(screen) == before, seed
        assert seen(fed(frame, cols=20, rows=8)) == before, seed
