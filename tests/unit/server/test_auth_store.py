from pathlib import Path

import pytest

from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.roles import NOTEBOOK, PERSON, Role
from vibehq_server.auth.limits import FailureLimit
from vibehq_server.auth.records import Grant
from vibehq_server.auth.store import AuthStore
from vibehq_server.auth.tickets import MAX_PER_SESSION, MAX_TICKETS, Tickets
from vibehq_server.identity import Identity


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def give(store: AuthStore, user: str, *roles: Role) -> tuple[str, Grant]:
    token, grant = store.draft_grant(user, roles, ["*"], 60, "admin")
    store.add_grant(grant)
    return token, grant


ANA = Identity("ana", "person", PERSON, "s-1")
ROOM = RoomKey("terminal", "web-1")


def test_a_session_ends_after_8_idle_hours_and_after_24_in_any_case() -> None:
    clock = Clock()
    store = AuthStore(None, clock)
    idle = store.create_session("ana", PERSON)
    clock.now += 8 * 3600 - 1
    assert store.find_session(idle) is not None
    clock.now += 8 * 3600
    assert store.find_session(idle) is None

    busy = store.create_session("ana", PERSON)
    for _ in range(23):
        clock.now += 3600
        assert store.find_session(busy) is not None
    clock.now += 3600
    assert store.find_session(busy) is None
    store.close()


def test_a_disk_that_takes_no_write_signs_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    path = tmp_path / "auth.sqlite3"
    store = AuthStore(path, clock)
    cookie = store.create_session("ana", PERSON)
    store._database.execute("PRAGMA query_only=1")
    clock.now += 3600
    found = store.find_session(cookie)
    assert found is not None
    assert found.seen == clock.now
    assert "was not noted" in caplog.text
    store.close()


def test_a_session_ends_with_the_grant_it_came_from() -> None:
    clock = Clock()
    store = AuthStore(None, clock)
    _, grant = give(store, "bob", *NOTEBOOK)
    cookie = store.create_session("bob", NOTEBOOK, ["*"], grant)
    assert store.find_session(cookie) is not None
    clock.now += 60
    assert store.find_session(cookie) is None
    store.close()


def test_what_was_revoked_stays_revoked_after_a_restart(tmp_path: Path) -> None:
    store = AuthStore(tmp_path / "auth.sqlite3")
    token, grant = give(store, "bob", Role.APPROVER)
    kept, _ = give(store, "eve", Role.VIEWER)
    store.revoke_grant(grant.id)
    store.save_revocation(grant.id)
    store.close()
    again = AuthStore(tmp_path / "auth.sqlite3")
    found = again.find_grant(kept)
    assert again.find_grant(token) is None
    assert found is not None
    assert found.identity("service").roles == {Role.VIEWER}
    assert again.approvers() == frozenset()
    again.close()


def test_a_revocation_holds_at_once_and_can_be_repeated_until_the_disk_takes_it(
    tmp_path: Path,
) -> None:
    store = AuthStore(tmp_path / "auth.sqlite3")
    token, grant = give(store, "bob", Role.VIEWER)
    cookie = store.create_session("bob", {Role.VIEWER}, ["*"], grant)
    shown = grant.identity("service")
    store._database.execute("PRAGMA query_only=1")

    ended = store.revoke_grant(grant.id)
    with pytest.raises(NotStoredError):
        store.save_revocation(grant.id)

    assert shown.has_ended(store.clock())
    assert store.find_grant(token) is None
    assert store.find_session(cookie) is None
    assert store.revoke_grant(grant.id) == ended
    store._database.execute("PRAGMA query_only=0")
    store.save_revocation(grant.id)
    store.confirm_revocation(grant.id)
    assert store.revoke_grant(grant.id) is None
    assert [g.status(0.0) for g in store.grants(with_ended=True)] == ["revoked"]
    assert store.grants() == []
    store.close()


def test_what_came_of_a_session_lives_as_long_as_it_is_used() -> None:
    clock = Clock()
    store = AuthStore(None, clock)
    cookie = store.create_session("ana", PERSON)
    found = store.find_session(cookie)
    assert found is not None
    socket = found.identity()
    clock.now += 7 * 3600
    store.find_session(cookie)
    clock.now += 7 * 3600
    assert not socket.has_ended(clock.now)
    clock.now += 3600
    assert socket.has_ended(clock.now)

    again = store.create_session("ana", PERSON)
    found = store.find_session(again)
    assert found is not None
    store.end_session(again)
    assert found.identity().has_ended(clock.now)
    store.close()


def test_a_ticket_is_burnt_by_its_first_use_even_for_another_room() -> None:
    tickets = Tickets(Clock())
    ticket = tickets.mint(ANA, ROOM, None)
    assert tickets.burn(ticket, RoomKey("terminal", "web-2")) is None
    assert tickets.burn(ticket, ROOM) is None


def test_a_ticket_stands_for_its_minter_in_one_role_for_30_seconds() -> None:
    clock = Clock()
    tickets = Tickets(clock)
    first = tickets.mint(ANA, ROOM, Role.VIEWER)
    late = tickets.mint(ANA, ROOM, None)
    clock.now += 29.9
    found = tickets.burn(first, ROOM)
    clock.now += 0.1
    assert found is not None
    assert (found.user, found.session, found.roles) == ("ana", "s-1", {Role.VIEWER})
    assert tickets.burn(late, ROOM) is None


def test_tickets_that_nobody_uses_do_not_pile_up() -> None:
    tickets = Tickets(Clock())
    people = [
        Identity(f"user-{number}", "person", PERSON, "")
        for number in range(MAX_TICKETS + 1)
    ]
    minted = [tickets.mint(person, ROOM, None) for person in people]
    assert tickets.burn(minted[0], ROOM) is None
    assert tickets.burn(minted[-1], ROOM) == people[-1]


@pytest.mark.parametrize("eve", ["eve/s-2", "ana/s-2", "eve/"])
def test_one_session_cannot_push_out_the_tickets_of_another(eve: str) -> None:
    user, _, session = eve.partition("/")
    tickets = Tickets(Clock())
    other = tickets.mint(ANA, ROOM, None)
    nameless = tickets.mint(Identity("bob", "person", PERSON, ""), ROOM, None)
    greedy = Identity(user, "person", PERSON, session)
    minted = [tickets.mint(greedy, ROOM, Role.VIEWER) for _ in range(MAX_TICKETS)]
    mine = [tickets.burn(ticket, ROOM) is not None for ticket in minted]
    assert mine == [False] * (MAX_TICKETS - MAX_PER_SESSION) + [True] * MAX_PER_SESSION
    assert tickets.burn(other, ROOM) == ANA
    assert tickets.burn(nameless, ROOM) is not None


def test_failures_are_counted_per_address_and_minute() -> None:
    clock = Clock()
    limit = FailureLimit(clock)
    assert [limit.is_over("a") for _ in range(11)] == [False] * 10 + [True]
    assert not limit.is_over("b")
    clock.now += 60
    assert not limit.is_over("a")
