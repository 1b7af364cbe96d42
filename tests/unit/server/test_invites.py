"""Join tokens: one name, once, ten minutes."""

import pytest

from vibehq_nb.core.errors import DeniedError
from vibehq_server.auth.invites import INVITE_SECONDS, MAX_INVITES, Invites


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def why_not(invites: Invites, token: str, worker: str = "web-1") -> str:
    with pytest.raises(DeniedError) as caught:
        invites.take(token, worker)
    assert caught.value.code == "join-token"
    return caught.value.reason


def test_a_token_is_taken_once() -> None:
    invites = Invites(Clock())
    token = invites.mint("web-1", "ana")

    taken = invites.take(token, "web-1")

    assert (taken.worker, taken.by) == ("web-1", "ana")
    assert why_not(invites, token).startswith("This join token was used already.")


def test_a_token_that_brought_nothing_can_be_taken_again() -> None:
    invites = Invites(Clock())
    token = invites.mint("web-1", "ana")

    invites.give_back(invites.take(token, "web-1"))

    assert invites.take(token, "web-1").by == "ana"


def test_it_is_over_after_ten_minutes() -> None:
    clock = Clock()
    invites = Invites(clock)
    token, other = invites.mint("web-1", "ana"), invites.mint("web-2", "ana")
    clock.now = INVITE_SECONDS - 1
    invites.take(other, "web-2")
    clock.now = INVITE_SECONDS

    assert "expired" in why_not(invites, token)


def test_it_is_for_one_name_and_stays_good_for_that() -> None:
    invites = Invites(Clock())
    token = invites.mint("web-1", "ana")

    assert "another name" in why_not(invites, token, "web-2")
    assert invites.take(token, "web-1")


def test_unknown_ones_are_refused_and_the_oldest_goes_when_there_are_too_many() -> None:
    invites = Invites(Clock())
    first = invites.mint("w", "ana")
    for _ in range(MAX_INVITES):
        last = invites.mint("w", "ana")

    assert "knows no such join token" in why_not(invites, "vhq_j_nonsense", "w")
    assert not invites.knows(first)
    assert invites.take(last, "w")
