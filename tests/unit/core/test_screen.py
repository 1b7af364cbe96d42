"""The fallback screen, and what is shared by all screens."""

from vibehq_nb.core.screen import TAIL_BYTES, TailScreen, clean_title, palette_color


def test_a_short_tail_is_kept_whole() -> None:
    screen = TailScreen(80, 24)
    screen.feed(b"one\r\n\x1b[31mtwo")

    assert screen.keyframe() == b"\x1bcone\r\n\x1b[31mtwo"
    assert screen.text() == "one\ntwo"
    assert screen.kind == "tail"


def test_a_long_tail_begins_with_a_line_and_stays_bounded() -> None:
    screen = TailScreen(80, 24)
    for n in range(200_000):
        screen.feed(b"line %d\r\n" % n)

    frame = screen.keyframe()

    assert frame.startswith(b"\x1bcline ")
    assert frame.endswith(b"line 199999\r\n")
    assert len(screen._tail) <= 2 * TAIL_BYTES


def test_a_keyframe_holds_as_many_lines_as_were_asked_for() -> None:
    screen = TailScreen(80, 3)
    screen.feed(b"".join(b"%d\n" % n for n in range(100)))

    assert screen.keyframe(0) == b"\x1bc97\n98\n99\n"
    assert screen.keyframe(2) == b"\x1bc95\n96\n97\n98\n99\n"


def test_html_is_escaped() -> None:
    screen = TailScreen(80, 24)
    screen.feed(b"<b>&\x1b[1m")
    screen.resize(100, 30)

    assert "&lt;b&gt;&amp;</pre>" in screen.html()


def test_a_title_has_no_control_characters_and_an_end() -> None:
    assert (
        clean_title(b"a\x01\x1b[6n\x7f\xc2\x9b6n \xe2\x80\xaeb\xff") == "a[6n6n b\ufffd"
    )
    assert len(clean_title(b"x" * 5000)) == 1024


def test_palette_colors_are_those_of_xterm() -> None:
    assert palette_color(1) == "#cc0000"
    assert palette_color(16) == "#000000"
    assert palette_color(196) == "#ff0000"
    assert palette_color(200) == "#ff00d7"
    assert palette_color(232) == "#080808"
    assert palette_color(255) == "#eeeeee"
