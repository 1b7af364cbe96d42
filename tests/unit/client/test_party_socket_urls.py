"""Where a PartySocket connects to, rule by rule."""

import pytest

from vibehq_nb.client import PartySocket
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.party_url import PartyAddress, encode_query

HOST = "hq.example.org"


def url(**options: object) -> str:
    return PartySocket(**{"host": HOST, "room": "r"} | options).room_url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "parties/main/r"),
        ({"party": "my-server"}, "parties/my-server/r"),
        ({"party": ""}, "parties/main/r"),
        ({"prefix": "a/b"}, "a/b/main/r"),
        ({"prefix": ""}, "parties/main/r"),
        ({"path": "x/y"}, "parties/main/r/x/y"),
        ({"base_path": "agents/one"}, "agents/one"),
        ({"base_path": "agents/one", "path": "x"}, "agents/one/x"),
        ({"base_path": "agents/one", "prefix": "p", "party": "q"}, "agents/one"),
        ({"base_path": "agents/one", "room": ""}, "agents/one"),
    ],
)
def test_the_path_is_prefix_party_room_and_path(options, place):
    assert url(**options) == f"wss://{HOST}/{place}"


@pytest.mark.parametrize(
    ("room", "segment"),
    [
        ("my room", "my%20room"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("a%2Fb", "a%2Fb"),
        ("a%2fb", "a%2fb"),
        ("100%", "100%"),
        ("a|b", "a|b"),
        ("a:b@c", "a:b@c"),
        ("~-._!$&'()*+,;=[]", "~-._!$&'()*+,;=[]"),
        ('{}^"<>`', "%7B%7D%5E%22%3C%3E%60"),
        ("...", "..."),
    ],
)
def test_a_room_is_encoded_as_a_url_parser_does_and_its_percent_signs_stay(
    room, segment
):
    assert url(room=room) == f"wss://{HOST}/parties/main/{segment}"


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("localhost:1999", "ws://localhost:1999"),
        ("localhost", "wss://localhost"),
        ("127.0.0.1:1999", "ws://127.0.0.1:1999"),
        ("127.0.0.1", "wss://127.0.0.1"),
        ("192.168.0.7", "ws://192.168.0.7"),
        ("10.1.2.3:80", "ws://10.1.2.3:80"),
        ("172.15.0.1", "wss://172.15.0.1"),
        ("172.16.0.1", "ws://172.16.0.1"),
        ("172.31.0.1", "ws://172.31.0.1"),
        ("172.32.0.1", "wss://172.32.0.1"),
        ("172.2.0.1", "wss://172.2.0.1"),
        ("[::ffff:7f00:1]:3", "ws://[::ffff:7f00:1]:3"),
        ("[::1]:3", "wss://[::1]:3"),
        ("100.1.2.3", "wss://100.1.2.3"),
        ("hq.example.org", "wss://hq.example.org"),
        ("http://hq.example.org/", "wss://hq.example.org"),
        ("https://hq.example.org", "wss://hq.example.org"),
        ("ws://hq.example.org", "wss://hq.example.org"),
        ("wss://localhost:1999/", "ws://localhost:1999"),
    ],
)
def test_the_host_alone_decides_whether_it_is_encrypted(host, wanted):
    assert url(host=host) == f"{wanted}/parties/main/r"


@pytest.mark.parametrize(
    ("host", "protocol", "socket", "http"),
    [
        (HOST, "ws", "ws", "http"),
        (HOST, "http", "ws", "http"),
        ("localhost:1", "wss", "wss", "https"),
        ("localhost:1", "https", "wss", "https"),
    ],
)
def test_a_protocol_overrides_the_host_for_socket_and_fetch(
    host, protocol, socket, http
):
    address = PartyAddress(host, "r", protocol=protocol)

    assert address.base_url("ws").startswith(f"{socket}://{host}/")
    assert address.base_url("http").startswith(f"{http}://{host}/")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, "_pk=me"),
        ({"a": "x y"}, "_pk=me&a=x+y"),
        ({"a": None, "b": ""}, "_pk=me&b="),
        ({"n": 1, "t": True, "f": False}, "_pk=me&n=1&t=true&f=false"),
        ({"k k": "&=+%#"}, "_pk=me&k+k=%26%3D%2B%25%23"),
        ({"a": "~*-._!'()é"}, "_pk=me&a=%7E*-._%21%27%28%29%C3%A9"),
        ({"_pk": "you"}, "_pk=me&_pk=you"),
    ],
)
def test_the_id_comes_first_and_the_query_is_encoded_as_a_form(query, wanted):
    assert encode_query({"_pk": "me"}, query) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"path": "/x"},
        {"room": "a/b"},
        {"party": "a/b"},
        {"room": "a\\b"},
        {"room": "a?b"},
        {"room": "a#b"},
        {"room": "a\nb"},
        {"room": ".."},
        {"room": "%2e."},
        {"path": "../y"},
        {"base_path": "x/./y"},
        {"path": "x?y"},
        {"room": "\ud800"},
        {"host": "h/?x"},
        {"protocol": "ftp"},
        {"romm": "a"},
        {"min_reconnection_delays": 1},
    ],
)
def test_what_would_lead_elsewhere_is_refused_with_one_sentence(options):
    with pytest.raises(UsageError) as refused:
        url(**options)

    assert "\n" not in str(refused.value)
    assert not any(str(value) in str(refused.value) for value in ("a/b", "../y"))


@pytest.mark.parametrize("options", [{"room": ""}, {"host": ""}, {}])
def test_without_a_room_it_says_what_is_missing_unless_it_starts_closed(options):
    given = {"host": HOST, "room": "r"} | options if options else {}

    with pytest.raises(UsageError, match="Say which room"):
        PartySocket(**given)  # type: ignore[arg-type]

    socket = PartySocket(**given, start_closed=True)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Say which room"):
        socket.reconnect()


def test_an_update_keeps_what_earlier_ones_changed():
    socket = PartySocket(host=HOST, room="r", path="x", query={"a": 1})

    socket.update_properties(party="p", query={"b": 2})
    socket.update_properties(room="s")

    assert socket.room_url == f"wss://{HOST}/parties/p/s/x"
    assert socket._options["query"] == {"b": 2}


def test_an_update_makes_a_new_id_unless_one_was_given():
    random, fixed = PartySocket(host=HOST, room="r"), url_socket(id="me")
    before = random.id

    random.update_properties(room="s")
    fixed.update_properties(room="s")

    assert random.id != before
    assert fixed.id == "me"
    fixed.update_properties(id="you")
    fixed.update_properties(room="t")
    assert fixed.id == "you"


def url_socket(**options: object) -> PartySocket:
    return PartySocket(host=HOST, room="r", **options)  # type: ignore[arg-type]


def test_an_update_that_is_refused_changes_nothing():
    socket = url_socket(id="me")

    with pytest.raises(UsageError):
        socket.update_properties(room="a/b", id="you")

    assert (socket.room, socket.id) == ("r", "me")
