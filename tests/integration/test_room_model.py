"""What a room's author is promised: starts, calls, storage, rest; on real sockets."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.integration.house import running
from vibehq_nb.core.errors import DeniedError, NotStoredError, UsageError
from vibehq_nb.core.log import EventLog
from vibehq_server import HttpRequest, Response, Room
from vibehq_server.room_logs.memory import MemoryRoomLog


async def fetch(house, path, **options):
    url = f"http{house.url.removeprefix('ws')}/parties/{path}"
    headers = {"X-As": "ana viewer,operator"}
    return await AsyncHTTPClient().fetch(
        url, headers=headers, raise_error=False, **options
    )


class Counted(Room):
    """Starts slowly, and says how often it did."""

    starts = 0
    fails_at = ()

    async def on_start(self, props):
        Counted.starts += 1
        if Counted.starts in self.fails_at:
            raise RuntimeError("a secret of the server")
        await asyncio.sleep(0.2)
        self.props = dict(props)
        self.ready = True

    async def on_connect(self, connection, request):
        connection.send(f"{self.ready} {Counted.starts}")

    async def on_request(self, request):
        return Response(json.dumps([self.ready, Counted.starts, self.props]))


async def test_a_room_starts_once_and_before_everything_else():
    Counted.starts, Counted.fails_at = 0, ()
    async with running({"main": Counted}) as house:
        one, two, three = await asyncio.gather(
            house.connect("main/r"), house.connect("main/r"), fetch(house, "main/r")
        )
        texts = [await one.socket.recv(), await two.socket.recv()]

    assert texts == ["True 1", "True 1"]
    assert json.loads(three.body) == [True, 1, {}]


async def test_a_failed_start_is_a_500_without_a_trace_and_the_next_use_tries_again():
    Counted.starts, Counted.fails_at = 0, (1,)
    async with running({"main": Counted}) as house:
        first = await fetch(house, "main/r")
        second = await fetch(house, "main/r")

    assert first.code == 500
    assert b"secret" not in first.body
    assert json.loads(second.body)[:2] == [True, 2]


async def test_props_reach_on_start_from_the_server_and_from_another_room():
    class Caller(Room):
        async def on_request(self, request):
            other = self.get_room("counted", "x", {"é": 1})
            answer = await other.fetch(HttpRequest())
            return Response(answer.body)

    Counted.starts, Counted.fails_at = 0, ()
    parties = {"counted": Counted, "caller": Caller}
    async with running(parties, props={"from": "server"}) as house:
        answer = await fetch(house, "caller/a")

    assert json.loads(answer.body)[2] == {"é": 1, "from": "server"}


# Calls


class Peer(Room):
    """Counts, and calls others."""

    async def on_start(self, props):
        self.count = 0
        self.entered = asyncio.Event()
        self.go = asyncio.Event()

    async def increment(self, by=1):
        self.count += by
        return self.count

    async def boom(self):
        raise DeniedError("refused", "No.")

    async def wait(self):
        self.entered.set()
        await self.go.wait()
        self.count += 100
        return self.count

    async def call(self, party, name, method, *args):
        return await getattr(self.get_room(party, name), method)(*args)

    async def there_and_back(self, other):
        return await self.get_room("peer", other).call("peer", self.name, "increment")


async def peer(house, name):
    return await house.hub.room("peer", name)


async def test_a_public_method_of_another_room_is_called_and_answers():
    async with running({"peer": Peer}) as house:
        one = await peer(house, "a")

        assert await one.run(one.call, "peer", "b", "increment", 5) == 5
        assert (await peer(house, "b")).count == 5
        with pytest.raises(DeniedError, match="No"):
            await one.run(one.call, "peer", "b", "boom")


@pytest.mark.parametrize("name", ["_reload", "broadcast", "nothing", "stop"])
async def test_what_is_no_public_method_of_the_author_cannot_be_called(name):
    async with running({"peer": Peer}) as house:
        one = await peer(house, "a")

        with pytest.raises((AttributeError, UsageError)):
            await one.run(one.call, "peer", "b", name)


async def test_a_call_that_comes_back_to_a_room_in_its_chain_is_refused():
    async with running({"peer": Peer}) as house:
        one = await peer(house, "a")

        with pytest.raises(DeniedError, match="already waits"):
            await one.run(one.there_and_back, "b")
        with pytest.raises(DeniedError, match="already waits"):
            await one.run(one.call, "peer", "a", "increment")


async def test_a_room_that_waits_for_another_goes_on_serving():
    async with running({"peer": Peer}) as house:
        one, two = await peer(house, "a"), await peer(house, "b")
        waiting = asyncio.create_task(one.run(one.call, "peer", "b", "wait"))
        await two.entered.wait()

        async with asyncio.timeout(2):
            assert await one.run(one.increment) == 1
        two.go.set()

        assert await waiting == 100


async def test_rooms_that_call_each_other_at_once_do_not_block_each_other():
    async with running({"peer": Peer}) as house:
        one, two = await peer(house, "a"), await peer(house, "b")

        async with asyncio.timeout(3):
            counts = await asyncio.gather(
                one.run(one.call, "peer", "b", "increment"),
                two.run(two.call, "peer", "a", "increment"),
            )

    assert counts == [1, 1]


async def test_a_call_has_a_deadline_and_says_whether_it_began(monkeypatch):
    monkeypatch.setattr("vibehq_server.calls.CALL_SECONDS", 0.2)
    async with running({"peer": Peer}) as house:
        one, two = await peer(house, "a"), await peer(house, "b")

        with pytest.raises(DeniedError, match="may still happen"):
            await one.run(one.call, "peer", "b", "wait")
        with pytest.raises(DeniedError, match="did not begin"):
            await one.run(one.call, "peer", "b", "increment")
        two.go.set()
        async with asyncio.timeout(3):
            while two.count != 100:
                await asyncio.sleep(0.01)

        assert await one.run(one.call, "peer", "b", "increment") == 101


# Storage


class Keeper(Room):
    """Has storage and a SQL table; does nothing by itself."""


async def keeper(house, name):
    return await house.hub.room("keeper", name)


async def test_key_values_outlive_the_server_and_rooms_do_not_share_them(tmp_path):
    log = MemoryRoomLog()
    async with running({"keeper": Keeper}, log) as house:
        one, two = await keeper(house, "a"), await keeper(house, "b")
        await one.run(one.storage.put, "k", {"n": 1})
        await two.run(two.storage.put_all, {"k": 2, "l": [3]})
    log.reopen()
    async with running({"keeper": Keeper}, log) as house:
        one, two = await keeper(house, "a"), await keeper(house, "b")

        assert await one.storage.list() == {"k": {"n": 1}}
        assert await two.storage.get("k") == 2
        assert await two.storage.delete("k", "nothing") == 1
        assert await two.storage.list(reverse=True, limit=1) == {"l": [3]}


async def put_and_fail(room):
    async with room.storage.transaction() as changes:
        changes.put("a", 1)
        raise ZeroDivisionError


async def test_a_transaction_that_raises_stores_nothing():
    async with running({"keeper": Keeper}) as house:
        room = await keeper(house, "a")
        with pytest.raises(ZeroDivisionError):
            await put_and_fail(room)
        async with room.storage.transaction() as changes:
            changes.put("a", 2)
            changes.put("b", 3)

        assert await room.storage.list() == {"a": 2, "b": 3}


async def test_the_servers_own_keys_are_out_of_reach():
    async with running({"keeper": Keeper}) as house:
        room = await keeper(house, "a")
        await room.set_alarm(room.now + timedelta(days=1))

        assert await room.storage.list() == {}
        with pytest.raises(UsageError, match="own"):
            await room.storage.delete("_vibehq/alarm")
        assert await room.get_alarm() is not None


async def test_a_full_storage_refuses_and_can_be_emptied(monkeypatch):
    monkeypatch.setattr("vibehq_server.storage.MAX_STORAGE_BYTES", 1000)
    async with running({"keeper": Keeper}) as house:
        room = await keeper(house, "a")
        await room.storage.put("a", "x" * 900)
        with pytest.raises(UsageError, match="may keep"):
            await room.storage.put("b", "x" * 200)
        await room.storage.delete_all()
        await room.storage.put("b", "x" * 200)

        assert list(await room.storage.list()) == ["b"]


async def test_a_log_that_refuses_is_told_and_the_value_is_the_old_one():
    log = MemoryRoomLog()
    async with running({"keeper": Keeper}, log) as house:
        room = await keeper(house, "a")
        await room.storage.put("a", 1)
        log.is_full = True
        with pytest.raises(NotStoredError):
            await room.storage.put("a", 2)
        log.is_full = False
        async with asyncio.timeout(5):
            while room._ledger.appender.is_failing:
                await asyncio.sleep(0.01)

        assert await room.storage.get("a") == 1


async def test_a_room_that_keeps_nothing_opens_no_log():
    log = MemoryRoomLog()
    async with running({"keeper": Keeper}, log) as house:
        await keeper(house, "a")

        assert all(key.party != "keeper" for key in log._rooms)


async def insert(room, *numbers):
    async with room.storage.sql.transaction() as sql:
        for number in numbers:
            await sql.execute("INSERT INTO t VALUES (?)", number)


async def test_sql_rows_are_a_rooms_own_and_a_transaction_is_whole(tmp_path):
    async with running({"keeper": Keeper}, sql_folder=tmp_path) as house:
        one, two = await keeper(house, "a"), await keeper(house, "b")
        for room in (one, two):
            await room.storage.sql.execute("CREATE TABLE t (n INTEGER UNIQUE)")
        await insert(one, 1, 2)
        with pytest.raises(UsageError, match="UNIQUE"):
            await insert(one, 3, 1)

        assert await one.storage.sql.execute("SELECT n FROM t") == [{"n": 1}, {"n": 2}]
        assert await two.storage.sql.execute("SELECT n FROM t") == []
        with pytest.raises(UsageError, match="syntax"):
            await one.storage.sql.execute("SELEC")
    async with running({"keeper": Keeper}, sql_folder=tmp_path) as house:
        one = await keeper(house, "a")

        assert len(await one.storage.sql.execute("SELECT n FROM t")) == 2


# Rest


class Sleeper(Room):
    """Hibernates."""

    hibernate = True
    starts = 0

    async def on_start(self, props):
        Sleeper.starts += 1
        self.memory = 0

    async def on_connect(self, connection, request):
        connection.set_state({"seen": 0})

    def get_connection_tags(self, connection, request):
        return ["red"]

    async def on_message(self, connection, message):
        self.memory += 1
        connection.set_state(lambda state: {"seen": state["seen"] + 1})
        red = [one.id for one in self.get_connections("red")]
        told = [Sleeper.starts, self.memory, connection.state, connection.uri, red]
        self.broadcast(json.dumps(told))

    async def on_close(self, connection, code, reason, was_clean):
        self.broadcast(json.dumps([Sleeper.starts, "left", connection.id]))


async def test_an_idle_room_rests_and_its_sockets_stay_with_all_they_have():
    Sleeper.starts = 0
    async with running({"main": Sleeper}) as house:
        one = await house.connect("main/r", _pk="one", q="1")
        two = await house.connect("main/r", _pk="two")
        await one.send("hello")
        first = json.loads(await one.socket.recv())
        room = house.hub.find("main", "r")
        house.hub.let_go(room)
        assert house.hub.find("main", "r") is None
        assert len(house.hub.connections()) == 2

        await one.send("again")
        second = json.loads(await one.socket.recv())
        house.hub.let_go(house.hub.find("main", "r"))
        await two.socket.close()
        third = json.loads(await one.socket.recv())

    assert first[:3] == [1, 1, {"seen": 1}]
    assert second[:3] == [2, 1, {"seen": 2}]
    assert second[3].endswith("_pk=one&q=1")
    assert second[4] == ["one", "two"]
    assert third == [3, "left", "two"]


@pytest.mark.parametrize(
    ("kind", "idle", "rests"),
    [
        (Sleeper, 9, False),
        (Sleeper, 11, True),
        (Keeper, 599, False),
        (Keeper, 601, True),
    ],
)
async def test_rooms_rest_after_their_time_and_not_before(kind, idle, rests):
    time = [0.0]
    async with running({"main": kind}, monotonic=lambda: time[0]) as house:
        room = await house.hub.room("main", "r")
        time[0] = idle

        assert room.may_rest is rests


async def test_a_room_with_somebody_in_it_stays_unless_it_hibernates():
    time = [0.0]
    async with running({"main": Keeper}, monotonic=lambda: time[0]) as house:
        await house.connect("main/r")
        async with asyncio.timeout(5):
            while not (room := house.hub.find("main", "r")) or not room.connections:
                await asyncio.sleep(0.01)
        time[0] = 10_000.0

        assert room.may_rest is False


async def test_a_full_house_lets_the_room_go_that_nobody_used_for_longest(monkeypatch):
    monkeypatch.setattr("vibehq_server.hub.MAX_ROOMS", 2)
    time = [0.0]
    async with running({"main": Keeper}, monotonic=lambda: time[0]) as house:
        await house.connect("main/used")
        async with asyncio.timeout(5):
            while not house.hub.connections():
                await asyncio.sleep(0.01)
        for name in ("a", "b"):
            time[0] += 1
            await house.hub.room("main", name)

        assert {room.name for room in house.hub.live()} == {"used", "b"}
        await house.connect("main/b")
        async with asyncio.timeout(5):
            while len(house.hub.connections()) < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(DeniedError, match="Too many"):
            await house.hub.room("main", "c")


# What a stranger found


class Caller(Room):
    """Calls others in ways that part a call from its hook."""

    async def on_start(self, props):
        self.left = []

    async def one_fails(self):
        await asyncio.gather(
            self.get_room("peer", "bad").boom(), self.get_room("peer", "slow").wait()
        )

    async def leaves_one_behind(self):
        call = self.get_room("peer", "slow").wait()
        self.left.append(asyncio.create_task(call))
        await asyncio.sleep(0)

    async def ping(self):
        return "pong"


@pytest.mark.parametrize("how", ["one_fails", "leaves_one_behind"])
async def test_a_call_that_outlives_its_hook_does_not_block_the_room(how):
    async with running({"peer": Peer, "caller": Caller}) as house:
        room = await house.hub.room("caller", "a")
        slow = await peer(house, "slow")
        with suppress(DeniedError):
            await room.run(getattr(room, how))
        slow.go.set()
        async with asyncio.timeout(5):
            while slow.count != 100:
                await asyncio.sleep(0.01)
            await asyncio.gather(*room.left)

            assert await room.run(room.ping) == "pong"


async def test_a_room_that_waits_for_another_is_not_let_go():
    time = [0.0]
    parties = {"peer": Peer, "main": Sleeper}
    async with running(parties, monotonic=lambda: time[0]) as house:
        sleeper, slow = await house.hub.room("main", "r"), await peer(house, "b")

        async def call():
            return await sleeper.get_room("peer", "b").wait()

        waiting = asyncio.create_task(sleeper.run(call))
        await slow.entered.wait()
        time[0] = 1000.0
        assert sleeper.may_rest is False
        slow.go.set()
        await waiting

        assert sleeper.may_rest is True


async def test_a_room_that_was_let_go_writes_nothing_any_more():
    log = MemoryRoomLog()
    async with running({"keeper": Keeper}, log) as house:
        old = await keeper(house, "a")
        await old.storage.put("a", 1)
        house.hub.let_go(old)
        new = await keeper(house, "a")
        with pytest.raises(NotStoredError, match="let go"):
            await old.storage.put("a", 2)

        assert await new.storage.get("a") == 1
        await new.storage.put("a", 3)


async def test_a_room_that_could_not_start_leaves_nothing_behind():
    class Broken(Room):
        fired = 0

        async def on_start(self, props):
            await self.storage.put("a", 1)
            self.call_at(self.now, self.fire)
            raise RuntimeError("a bug of its author")

        def fire(self):
            Broken.fired += 1

    log = MemoryRoomLog()
    async with running({"main": Broken}, log) as house:
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await house.hub.room("main", "r")
        await asyncio.sleep(0)

        assert Broken.fired == 0
        assert not log._followers._by_room.keys() - {house.hub.alarms._ledger._key}


async def test_a_commit_that_fails_leaves_no_transaction_open():
    async with running({"keeper": Keeper}) as house:
        sql = (await keeper(house, "a")).storage.sql
        await sql.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        await sql.execute(
            "CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED)"
        )

        async def insert_orphan():
            async with sql.transaction() as changes:
                await changes.execute("INSERT INTO b VALUES (7)")

        with pytest.raises(UsageError, match="FOREIGN KEY"):
            await insert_orphan()
        async with sql.transaction() as changes:
            await changes.execute("INSERT INTO a VALUES (1)")

        assert await sql.execute("SELECT count(*) AS n FROM b") == [{"n": 0}]


@pytest.mark.parametrize("code", [999, 1005, 1006, 1015, 2999, 5000, 70_000])
async def test_a_close_code_that_may_not_be_sent_is_refused(code):
    async with running({"main": Keeper}) as house:
        await house.connect("main/r")
        [connection] = house.hub.connections()

        with pytest.raises(ValueError, match=str(code)):
            connection.close(code)

        assert connection.is_open


async def test_what_another_owner_of_the_log_appended_is_not_taken_for_ones_own():
    log = MemoryRoomLog()
    async with running({"keeper": Keeper}, log) as house:
        room = await keeper(house, "a")
        await room.storage.put("n", 1)
        term = await log.claim(room.key)
        tail = EventLog(str(room.key), "", 1, log._rooms[room.key].head_hash)
        body = b'{"type":"_stored","put":{"other":1},"delete":[],"offset":2}'
        await log.append(room.key, term, [tail.append(body, 1)])
        with suppress(NotStoredError):
            await room.storage.put("n", 2)
        async with asyncio.timeout(5):
            while room._ledger.appender.is_failing:
                await asyncio.sleep(0.01)
        seen = await room.storage.list()
    log.reopen()
    async with running({"keeper": Keeper}, log) as house:
        kept = await (await keeper(house, "a")).storage.list()

    assert seen == kept  # what was said to be stored is
    assert kept["other"] == 1


async def test_anothers_id_is_refused_while_the_room_is_asleep_too():
    Sleeper.starts = 0
    async with running({"main": Sleeper}) as house:
        ana = await house.connect("main/r", _pk="mine")
        await ana.send("hello")
        await ana.socket.recv()
        house.hub.let_go(house.hub.find("main", "r"))
        eve = await house.connect("main/r", user="eve", _pk="mine")

        assert await eve.close_code() == 1011
        room = await house.hub.room("main", "r")
        assert [one.identity.user for one in room.get_connections()] == ["ana"]


async def test_a_start_that_failed_while_nobody_waited_any_more_is_tried_again():
    class Late(Room):
        starts = 0

        async def on_start(self, props):
            Late.starts += 1
            await asyncio.sleep(0.05)
            if Late.starts == 1:
                raise RuntimeError("on purpose")

    async with running({"main": Late}) as house:
        waiting = asyncio.create_task(house.hub.room("main", "r"))
        await asyncio.sleep(0)
        waiting.cancel()
        async with asyncio.timeout(5):
            while house.hub._rooms:
                await asyncio.sleep(0.01)

        await house.hub.room("main", "r")
        assert Late.starts == 2
