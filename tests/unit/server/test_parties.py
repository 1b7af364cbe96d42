from typing import Any

import pytest

from vibehq_nb.core.errors import UsageError
from vibehq_server import Room, Rooms


class MyServer(Room):
    pass


class Mistyped(Room):
    access = "opne"


class Other(Room):
    pass


def test_a_mapping_names_the_parties_and_a_list_takes_the_classes_names() -> None:
    named = Rooms({"MyServer": Other, "MY_DO": Other, "plain": MyServer})

    assert named.parties() == {"my-server": Other, "my-do": Other, "plain": MyServer}
    assert Rooms([MyServer, Other]).parties() == {"my-server": MyServer, "other": Other}


@pytest.mark.parametrize(
    ("kinds", "prefix", "reason"),
    [
        ([], "parties", "no room class"),
        ([object], "parties", "no Room class"),
        ({"x": "Room"}, "parties", "no Room class"),
        ([Mistyped], "parties", "Mistyped.access is 'opne'"),
        ([MyServer, MyServer], "parties", "two parties"),
        ({"MyServer": MyServer, "my-server": Other}, "parties", "two parties"),
        ({"a/b": MyServer}, "parties", "no party name"),
        ({"": MyServer}, "parties", "no party name"),
        ([MyServer], "", "a prefix"),
        ([MyServer], "/parties", "a prefix"),
        ([MyServer], "a//b", "a prefix"),
    ],
)
def test_what_is_no_table_of_rooms_is_refused_in_a_sentence(
    kinds: Any, prefix: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        Rooms(kinds, prefix=prefix).parties()
