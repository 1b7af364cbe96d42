"""Publish and subscribe; rows 41 and 42 of PartyServer's features."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.integration.app_server import Answer, send
from tests.integration.house import House, Peer, running
from tests.rooms_under_test import News
from vibehq_server import Topics


class Minutes(Topics):
    """For the server's own users."""


@asynccontextmanager
async def topics() -> AsyncIterator[House]:
    async with running({"news": News, "minutes": Minutes}) as house:
        yield house


async def post(house: House, body: Any, party: str = "news", roles: str = "") -> Answer:
    port = int(house.url.rpartition(":")[2])
    headers = {"X-As": f"ana {roles}"} if roles else {}
    return await send(port, "POST", f"/parties/{party}/r", headers, body)


async def publish(house: House, *names: str) -> None:
    for name in names:
        answer = await post(house, {"topic": name, "data": 1})
        assert (answer.status, answer.body) == (200, b"OK")


async def heard(peer: Peer) -> list[str]:
    """Return the topics that came before one the peer asks for now."""
    await peer.send({"__topics": ["the-end"]})
    await peer.send({"topic": "the-end", "data": 1})
    found: list[str] = []
    while (message := await peer.next())["topic"] != "the-end":
        found.append(message["topic"])
    return found


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("", ["a", "ab", "a:1", "a:1:2", "b"]),
        ("topics=*", ["a", "ab", "a:1", "a:1:2", "b"]),
        ("topics=a", ["a"]),
        ("topics=a:*", ["a:1", "a:1:2"]),
        ("topics=a:1:*", ["a:1:2"]),
        ("topics=a,b", ["a", "b"]),
        ("topics=a%3A*,b", ["a:1", "a:1:2", "b"]),
        ("topics=", []),
        ("topics=*,a:*,a:1,a:1", ["a", "ab", "a:1", "a:1:2", "b"]),
    ],
)
async def test_row_41_a_pattern_matches_what_it_says_and_gives_one_copy(
    asked: str, wanted: list[str]
) -> None:
    query = dict([asked.split("=")]) if asked else {}
    async with topics() as house:
        peer = await house.connect("news/r", **query)

        await publish(house, "a", "ab", "a:1", "a:1:2", "b")

        assert await heard(peer) == wanted


async def test_row_41_topics_change_live_and_the_sender_is_among_the_receivers() -> (
    None
):
    async with topics() as house:
        peer = await house.connect("news/r", topics="a:*")

        await peer.send({"topic": "b", "data": 0})
        await peer.send({"topic": "a:1", "data": {"n": "é"}})
        assert await peer.next() == {"topic": "a:1", "data": {"n": "é"}}
        await peer.send({"__topics": ["b"]})
        await peer.send({"topic": "a:1", "data": 0})
        await peer.send({"topic": "b", "data": [1]})
        assert await peer.next() == {"topic": "b", "data": [1]}


@pytest.mark.parametrize("bad", ["a*", "*:a", "a*:*", "x" * 257])
async def test_a_pattern_that_is_none_is_told_and_harms_nobody(bad: str) -> None:
    async with topics() as house:
        peer = await house.connect("news/r", topics=bad)
        assert (await peer.next())["error"] == "bad-message"

        await peer.send({"__topics": [bad]})
        assert (await peer.next())["error"] == "bad-message"
        await peer.send({"__topics": ["good"]})
        await peer.send({"topic": "good", "data": 1})
        assert (await peer.next())["topic"] == "good"


@pytest.mark.parametrize(
    "bad",
    ["no json", "[]", b"\xff", '{"topic":"a"}', '{"data":1}', '{"topic":1,"data":1}'],
)
async def test_what_is_no_message_is_told_and_the_connection_stays(
    bad: str | bytes,
) -> None:
    async with topics() as house:
        peer = await house.connect("news/r")
        await peer.send(bad)
        assert (await peer.next())["error"] == "bad-message"

        await peer.send({"topic": "a", "data": 1})
        assert (await peer.next())["topic"] == "a"


async def test_row_42_a_post_is_delivered_and_one_without_a_topic_is_400() -> None:
    async with topics() as house:
        peer = await house.connect("news/r")

        answer = await post(house, {"topic": "a", "data": {"n": "é"}})
        assert (answer.status, answer.body) == (200, b"OK")
        assert await peer.next() == {"topic": "a", "data": {"n": "é"}}
        for bad in ({"data": 1}, {"topic": "", "data": 1}, {"topic": "a"}, [], b"{"):
            answer = await post(house, bad)
            assert answer.status == 400
            assert answer.body.startswith(b"Invalid request")
        assert await heard(peer) == []


async def test_publishing_in_a_session_room_takes_an_operator() -> None:
    async with topics() as house:
        viewer = await house.connect("minutes/r", "bob", "viewer")
        told = {"topic": "a", "data": 1}

        assert (await post(house, told, "minutes")).status == 401
        assert (await post(house, told, "minutes", "viewer")).status == 403
        await viewer.send(told)
        assert (await viewer.next())["error"] == "forbidden"
        assert (await post(house, told, "minutes", "viewer,operator")).status == 200
        assert await viewer.next() == told
