"""Rooms inside another Tornado application; rows 3 and 45 of PartyServer's features."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tornado.httpserver
import tornado.httputil
import tornado.web
from tornado.testing import bind_unused_port
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.integration.app_server import UPGRADE, Answer, send
from tests.rooms_under_test import Guarded, Main, MyServer, Shared
from vibehq_nb.core.roles import Role
from vibehq_server import HttpRequest, Mount, Response, Room, Rooms
from vibehq_server.identity import Identity
from vibehq_server.room_logs.folder_lock import FolderInUseError


class Page(tornado.web.RequestHandler):
    def get(self) -> None:
        self.finish("a page")


class TheNext(tornado.web.RequestHandler):
    """Whatever no room takes."""

    def prepare(self) -> None:
        self.set_status(418)
        self.finish("the next handler")


class ForMembers(Room):
    async def on_request(self, request: HttpRequest) -> Response:
        assert request.identity is not None
        return Response(request.identity.user)


class Counting(Room):
    access = "open"

    async def on_request(self, request: HttpRequest) -> Response:
        count = await self.storage.get("count", 0) + 1
        await self.storage.put("count", count)
        return Response(str(count))


@dataclass(frozen=True)
class Site:
    """An application of somebody else, with rooms in it."""

    port: int

    async def get(self, path: str, **headers: str) -> Answer:
        return await send(self.port, "GET", path, headers)

    async def dial(self, path: str, **headers: str) -> Answer:
        return await send(self.port, "GET", path, UPGRADE | headers)

    def connect(self, path: str) -> Any:
        return connect(f"ws://127.0.0.1:{self.port}{path}")


@asynccontextmanager
async def site(rooms: Rooms, **options: Any) -> AsyncIterator[Site]:
    mount = Mount(rooms, **options)
    routes = [*mount.handlers(), ("/page", Page), (".*", TheNext)]
    app = tornado.web.Application(routes, log_function=lambda _: None)
    server = tornado.httpserver.HTTPServer(app)
    listening, port = bind_unused_port()
    server.add_sockets([listening])
    await mount.start()
    try:
        yield Site(port)
    finally:
        await mount.stop()
        server.stop()
        await server.close_all_connections()


KINDS = {"main": Main, "Guarded": Guarded, "Shared": Shared, "MyServer": MyServer}


async def hello_of(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await socket.recv())
    return found


@pytest.mark.parametrize("prefix", ["parties", "a/b", "party"])
async def test_row_03_rooms_are_under_their_prefix_and_nothing_else_is(
    prefix: str,
) -> None:
    async with site(Rooms(KINDS, prefix=prefix)) as here:
        found = await here.get(f"/{prefix}/main/r/x")
        assert (found.json()["room"], found.json()["path"]) == ("r", "x")
        async with here.connect(f"//{prefix}//my-server/r/") as socket:
            assert (await hello_of(socket))["hello"] == "r"

        elsewhere = "/parties" if prefix != "parties" else "/a/b"
        for path in (
            f"{elsewhere}/main/r",
            f"/{prefix}",
            f"/{prefix}/main",
            f"/{prefix}/main/",
            f"/x/{prefix}/main/r",
        ):
            assert (await here.get(path)).status == 418, path
            assert (await here.dial(path)).status == 418, path


async def test_row_05_an_unknown_party_is_400_and_does_not_go_on() -> None:
    async with site(Rooms(KINDS)) as here:
        for party in ("nobody", "MyServer", "My-Server"):
            assert (await here.get(f"/parties/{party}/r")).status == 400
            assert (await here.dial(f"/parties/{party}/r")).status == 400


async def test_row_45_other_handlers_are_served_beside_the_rooms() -> None:
    async with site(Rooms(KINDS)) as here, here.connect("/parties/main/r") as socket:
        await hello_of(socket)

        assert (await here.get("/page")).body == b"a page"
        await socket.send("echo")
        assert await socket.recv() == "echo"


async def test_row_45_a_refused_handshake_stays_401() -> None:
    async with site(Rooms(KINDS)) as here:
        with pytest.raises(InvalidStatus) as refused:
            await here.connect("/parties/guarded/r")
        asked = await here.get("/parties/guarded/r")

        response = refused.value.response
        assert (response.status_code, response.body) == (401, b"Who are you?")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert (asked.status, asked.body) == (401, b"Who are you?")


async def test_row_45_the_error_hook_sees_each_failure_and_may_answer() -> None:
    seen: list[BaseException] = []

    def on_error(error: BaseException) -> Response | None:
        seen.append(error)
        return None if len(seen) == 1 else Response("Sorry.", 503, {"X-Ours": "1"})

    async with site(Rooms(KINDS), on_error=on_error) as here:
        first = await here.get("/parties/shared/r/boom?who=friend")
        second = await here.get("/parties/shared/r/boom?who=friend")
        third = await here.dial("/parties/guarded/r?who=bug")

    assert [str(error) for error in seen] == ["a secret of the room"] * 3
    assert first.status == 500
    assert b"secret" not in first.body
    assert (second.status, second.body) == (503, b"Sorry.")
    assert second.headers["x-ours"] == "1"
    assert second.headers["access-control-allow-origin"] == "*"
    assert (third.status, third.body) == (503, b"Sorry.")


async def test_row_45_a_refusal_is_no_failure_and_the_error_hook_hears_nothing() -> (
    None
):
    seen: list[BaseException] = []
    async with site(Rooms({**KINDS, "members": ForMembers}), on_error=seen.append) as s:
        statuses = [
            (await s.get("/parties/nobody/r")).status,
            (await s.get("/parties/main/%00")).status,
            (await s.get("/parties/members/r")).status,
            (await s.dial(f"/parties/main/r?_pk={'x' * 257}")).status,
        ]

    assert statuses == [400, 404, 401, 400]
    assert seen == []


async def test_an_error_hook_that_fails_itself_leaves_the_usual_answer() -> None:
    def on_error(error: BaseException) -> Response | None:
        raise KeyError("in the hook")

    async with site(Rooms(KINDS), on_error=on_error) as here:
        answer = await here.get("/parties/main/r/boom")

    assert answer.status == 500
    assert answer.json()["code"] == "internal"


async def test_the_application_says_who_enters_a_session_room() -> None:
    def identify(request: tornado.httputil.HTTPServerRequest) -> Identity | None:
        if "user=ana" not in request.headers.get("Cookie", ""):
            return None
        return Identity("ana", "person", frozenset({Role.VIEWER, Role.OPERATOR}))

    async with site(Rooms({"members": ForMembers}), identify=identify) as here:
        room, cookie = "/parties/members/r", {"Cookie": "user=ana"}
        own = {"Origin": f"http://127.0.0.1:{here.port}"}

        assert (await here.get(room)).status == 401
        assert (await here.get(room, **cookie)).body == b"ana"
        assert (await here.dial(room)).status == 401
        assert (await here.dial(room, **cookie)).status == 403
        foreign = {"Origin": "https://a.example"}
        assert (await here.dial(room, **cookie, **foreign)).status == 403
        assert (await here.dial(room, **cookie, **own)).status == 101


async def test_what_a_mounted_room_keeps_is_there_after_a_restart(
    tmp_path: Path,
) -> None:
    rooms = Rooms([Counting])
    for count in (b"1", b"2"):
        async with site(rooms, data=tmp_path) as here:
            assert (await here.get("/parties/counting/r")).body == count
            with pytest.raises(FolderInUseError):
                Mount(rooms, data=tmp_path)


class Named(Room):
    """Tells whom it takes a client for."""

    access = "open"

    async def on_request(self, request: HttpRequest) -> Response:
        return Response(request.identity.user if request.identity else "nobody")


class Shop(ForMembers):
    cors = True


@pytest.mark.parametrize(
    ("query", "more"),
    [("", {}), ("?ticket=x", {}), ("", {"Authorization": "Basic eA"})],
)
async def test_a_foreign_page_is_nobody_whatever_it_shows_beside_the_cookie(
    query: str, more: dict[str, str]
) -> None:
    def identify(request: tornado.httputil.HTTPServerRequest) -> Identity | None:
        is_ana = "session=1" in request.headers.get("Cookie", "")
        roles = frozenset({Role.VIEWER, Role.OPERATOR})
        return Identity("ana", "person", roles, "s") if is_ana else None

    given = {"Cookie": "session=1", "Origin": "http://evil.example", **more}
    async with site(Rooms([Named, Shop]), identify=identify) as app:
        named = await app.get(f"/parties/named/r{query}", **given)
        shop = await app.get(f"/parties/shop/r{query}", **given)
        own = await app.get(
            "/parties/shop/r", **given | {"Origin": f"http://127.0.0.1:{app.port}"}
        )

    assert named.body == b"nobody"
    assert (shop.status, own.body) == (403, b"ana")
