"""What a gate checks before it asks, and what a script is told while it waits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vibehq_nb.client.decisions import Request, check_risk, seconds_of
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.tasks import show_request, waiting_text
from vibehq_nb.core.errors import UsageError

NOON = datetime(2026, 3, 5, 12, 0).astimezone()


def request(expires_at: datetime, question: str = "Restart web-1?") -> Request:
    created: dict[str, Any] = {
        "approval_id": "3f9c2a71",
        "question": question,
        "action": {},
        "kind": "confirm",
        "expires_at": expires_at.isoformat(),
    }
    return Request(HttpApi(Server("http://127.0.0.1:8900")), created)


@pytest.mark.parametrize(
    "expires",
    [
        0,
        -5,
        8 * 86400,
        float("nan"),
        timedelta(days=8),
        datetime(2020, 1, 1, tzinfo=UTC),
    ],
)
def test_an_expiry_out_of_range_names_the_argument_and_the_range(expires: Any) -> None:
    with pytest.raises(UsageError, match=r"^expires=.* between 1 second and 7 days"):
        seconds_of(expires)


def test_an_expiry_that_is_no_time_says_what_is_one() -> None:
    with pytest.raises(UsageError, match=r"^expires='soon' is no time: give seconds"):
        seconds_of("soon")  # type: ignore[arg-type]


def test_an_expiry_is_given_in_one_of_three_ways() -> None:
    later = datetime.now(UTC) + timedelta(minutes=10)

    assert seconds_of(60) == 60
    assert seconds_of(timedelta(hours=1)) == 3600
    assert 590 < seconds_of(later) <= 600


def test_an_unknown_risk_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"^risk='huge' is not known: .*'critical'"):
        check_risk("huge")


def test_a_script_is_told_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    show_request(request(datetime.now(UTC) + timedelta(seconds=1)), "")

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith('Waiting for a decision on "Restart web-1?" until ')
    assert told.err.endswith(": http://127.0.0.1:8900/r/3f9c2a71\n")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("later", "until"),
    [(timedelta(hours=2), "14:00"), (timedelta(days=2), "2026-03-07 12:00")],
)
def test_the_end_is_told_in_the_reader_s_time(later: timedelta, until: str) -> None:
    asked = request((NOON + later).astimezone(UTC), "Really\x1b[2J\n?")

    assert waiting_text(asked, NOON) == (
        f'Waiting for a decision on "Really [2J ?" until {until}: '
        "http://127.0.0.1:8900/r/3f9c2a71"
    )
