import pytest

from vibehq_nb.core.messages import FROM_WORKER, UPSTREAM
from vibehq_nb.core.roles import (
    BINARY,
    MAY_JOIN,
    MAY_SEND,
    NOTEBOOK,
    PERSON,
    Role,
    may_join,
    may_send,
)


def tags(kinds):
    return {str(kind.__struct_config__.tag) for kind in kinds}


def test_a_notebook_asks_and_never_decides():
    assert may_send("hil", "hil-request", NOTEBOOK)
    assert not may_send("hil", "hil-decision", NOTEBOOK)
    assert may_send("hil", "hil-decision", PERSON)


def test_an_operator_types_and_a_viewer_does_not():
    assert may_send("terminal", BINARY, {Role.OPERATOR})
    assert not may_send("terminal", BINARY, {Role.VIEWER})
    assert not may_send("terminal", BINARY, {Role.APPROVER})


@pytest.mark.parametrize("role", Role)
def test_what_no_row_names_is_refused_to_everybody(role):
    assert not may_send("ops", "reboot", {role})
    assert not may_send("nowhere", "subscribe", {role})
    assert may_join("users-own", {role}) == (role is not Role.ADMIN)


def test_nobody_without_a_role_joins_anything():
    assert not any(may_join(party, ()) for party in MAY_JOIN)


def test_only_workers_and_admins_join_a_workers_room():
    joining = {role for role in Role if may_join("worker", {role})}

    assert joining == {Role.WORKER, Role.ADMIN}


@pytest.mark.parametrize("party", sorted(UPSTREAM))
def test_every_message_that_goes_up_has_a_row_and_every_row_a_message(party):
    known = tags(UPSTREAM[party]) | tags(FROM_WORKER[party])

    assert set(MAY_SEND[party]) - {BINARY} == known
