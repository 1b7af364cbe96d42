import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.findings import MAX_SAMPLE
from vibehq_nb.ops.redact import redact, sample

CANARY = "cAnArY0123456789abcd"
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
KEY = "PRIVATE" + " KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"password={CANARY} user=bob",
        f"PASSWORD: '{CANARY} and more'",
        f'{{"api_key": "{CANARY} x", "n": 1}}',
        f"DB_PASSWORD={CANARY}",
        f"aws_secret_access_key = {CANARY}",
        f"GET /x?access_token={CANARY}&b=2",
        f"Authorization: Bearer {CANARY}",
        f"curl -H 'authorization: Basic {CANARY}=='",
        f"Cookie: a=1; sid={CANARY}",
        f"x-api-key: {CANARY}",
        f"mysql --password {CANARY} -u x",
        f"postgres://bob:{CANARY}@db/x",
        f"ghp_{CANARY}",
        f"xoxb-1-{CANARY}",
        f"eyJhbGciOiJI.{CANARY}.{CANARY}",
        f"-----BEGIN RSA {KEY}\n{CANARY}\n-----END RSA {KEY}",
        f"-----BEGIN {KEY}\n{CANARY}",
        "x" * 380 + f" token={CANARY}",
    ],
)
def test_secrets_do_not_reach_a_sample(text: str) -> None:
    assert CANARY[:6] not in sample(text)


def test_an_access_key_id_is_redacted() -> None:
    assert AWS not in redact(f"key {AWS} used")


def test_what_is_no_secret_stays() -> None:
    text = "connection from 10.0.0.1 refused: tokens used 531, see https://a.b/c?d=e"

    assert redact(text) == text


def test_escape_sequences_and_bidi_overrides_are_removed() -> None:
    assert redact("\x1b[31mred\x1b]0;title\x07\u202e!\x00") == "red!"


@given(st.text())
def test_a_sample_is_bounded_and_has_no_control_characters(text: str) -> None:
    short = sample(text)

    assert len(short) <= MAX_SAMPLE
    assert not any(ord(char) < 32 and char not in "\n\t" for char in short)


@pytest.mark.parametrize(
    "piece",
    ["password", "a:", "-", "--token ", "\x1b]", "://", "eyJ", "pwd'   ", "ab."],
)
def test_hostile_text_is_redacted_in_bounded_time(piece: str) -> None:
    text = (piece * 40_000)[:40_000]
    start = time.perf_counter()

    redact(text)

    assert time.perf_counter() - start < 2
