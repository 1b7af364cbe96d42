import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_server.deflate import (
    Deflater,
    InflateError,
    Inflater,
    agree_on_deflate,
    deflate_frame,
)
from vibehq_server.frames import encode_frame, payload_of

TAKEN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def inflate(frame: bytes) -> bytes:
    """Read a frame as a client with a window of 4 KiB does."""
    payload = payload_of(frame)
    if not frame[0] & 0x40:
        return payload
    return zlib.decompress(payload + b"\x00\x00\xff\xff\x01\x00\x00\xff\xff", wbits=-12)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_says_its_kind_and_length(size):
    frame = encode_frame(b"x" * size, binary=size % 2 == 0)

    assert frame[0] == (0x82 if size % 2 == 0 else 0x81)
    assert payload_of(frame) == b"x" * size


@given(st.binary(max_size=300), st.integers(1, 400), st.booleans())
def test_a_deflated_frame_reads_as_the_plain_one_and_is_never_longer(part, times, kind):
    frame = encode_frame(part * times, binary=kind)
    deflated = deflate_frame(frame)

    assert inflate(deflated) == part * times
    assert len(deflated) <= len(frame)
    assert deflated[0] & 0x3F == frame[0] & 0x3F


def test_a_deflater_gives_everybody_the_same_bytes():
    deflater = Deflater()
    first = encode_frame(b"a" * 500, binary=False)
    second = encode_frame(b"b" * 500, binary=False)

    assert deflater.deflate(first) is deflater.deflate(first)
    assert inflate(deflater.deflate(second)) == b"b" * 500
    assert inflate(deflater.deflate(first)) == b"a" * 500


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", TAKEN),
        ("permessage-deflate; client_max_window_bits", TAKEN),
        ('permessage-deflate; client_max_window_bits="10"', TAKEN),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            f"{TAKEN}; server_max_window_bits=12",
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            f"{TAKEN}; server_max_window_bits=12",
        ),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", TAKEN),
        ("x-other, permessage-deflate", TAKEN),
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=99", None),
        ("permessage-deflate; server_max_window_bits=+12", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; unknown", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
        (";;,,=", None),
    ],
)
def test_an_offer_is_answered_or_passed_over(offers, answer):
    assert agree_on_deflate(offers) == answer


@given(st.binary(max_size=2000))
def test_what_is_deflated_is_inflated_up_to_the_bound_and_no_further(payload):
    packed = zlib.compressobj(wbits=-15)
    sent = packed.compress(payload) + packed.flush(zlib.Z_SYNC_FLUSH)
    sent = sent.removesuffix(b"\x00\x00\xff\xff")

    assert Inflater(len(payload)).decompress(sent) == payload
    if payload:
        with pytest.raises(InflateError, match="too big"):
            Inflater(len(payload) - 1).decompress(sent)


def test_what_is_not_deflated_is_refused():
    with pytest.raises(InflateError, match="not deflated"):
        Inflater(1000).decompress(b"\xff" * 10)
