import asyncio
import json

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.house import running
from vibehq_nb.core.errors import DeniedError, NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import Emit, Event
from vibehq_nb.core.saved import vouches
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.room_logs.memory import MemoryRoomLog


class NotesRoom(ReplicatedRoom):
    """Keeps the names of events, in order."""

    entries = (Event,)
    message_rate = None  # some tests send a thousand at once

    def load(self, state):
        self.names = list(state.get("names", []))

    def state(self):
        return {"names": self.names}

    def apply(self, message, at_ms):
        self.names.append(message.name)

    async def receive(self, connection, message):
        assert isinstance(message, Emit)
        if message.name == "boom":
            raise RuntimeError("a secret of the server")
        if message.name == "no":
            raise DeniedError("refused", "No.")
        note = Event(name=message.name, data=message.data, by="x", at="", offset=0)
        return self.append(note)


class SlowLog(MemoryRoomLog):
    """Stores only when told to, or refuses."""

    def __init__(self):
        super().__init__()
        self.may_store = asyncio.Event()
        self.may_store.set()
        self.refuses = False

    async def append(self, room, term, entries):
        await self.may_store.wait()
        if self.refuses:
            raise NotStoredError("disk full")
        return await super().append(room, term, entries)


PARTIES = {"ops": NotesRoom}


async def emit(peer, name, **more):
    await peer.send({"type": "event", "name": name, **more})


async def joined(house, **query):
    """Connect and read what the server says before anything happens."""
    peer = await house.connect("ops/main", **query)
    frames = [await peer.next()]
    while frames[-1]["type"] != "tick":
        frames.append(await peer.next())
    return peer, frames


async def test_a_fresh_connection_gets_the_whole_state_then_what_happens():
    async with running(PARTIES) as house:
        first, frames = await joined(house)
        await emit(first, "a")
        await first.until("event")
        second, later = await joined(house)
        await emit(first, "b")

        assert [f["type"] for f in frames] == ["connected", "snapshot", "tick"]
        assert frames[0]["resume"] == "fresh"
        assert later[1]["state"] == {"names": ["a"]}
        assert (await second.next())["name"] == "b"


async def test_resume_sends_exactly_what_follows_the_position():
    async with running(PARTIES) as house:
        peer, frames = await joined(house)
        for name in "abcd":
            await emit(peer, name)
        while (await peer.until("event"))["name"] != "d":
            pass

        _, again = await joined(house, epoch=frames[0]["epoch"], offset=2)

        assert again[0]["resume"] == "resumed"
        assert [f.get("name") for f in again[1:-1]] == ["c", "d"]
        assert [f["offset"] for f in again[1:]] == [3, 4, 4]


@pytest.mark.parametrize(
    ("position", "reason"),
    [({"epoch": "other", "offset": 1}, "epoch"), ({"offset": 99}, "ahead")],
)
async def test_a_position_that_is_not_of_this_log_is_reset(position, reason):
    async with running(PARTIES) as house:
        _, frames = await joined(house)

        _, again = await joined(house, **{"epoch": frames[0]["epoch"]} | position)

        assert (again[0]["resume"], again[0]["reason"]) == ("reset", reason)
        assert again[1]["type"] == "snapshot"


async def test_half_a_position_counts_as_none():
    async with running(PARTIES) as house:
        _, frames = await joined(house, offset=3)

        assert frames[0]["resume"] == "fresh"


async def test_a_repeated_id_gets_its_first_answer_and_no_second_effect():
    async with running(PARTIES) as house:
        peer, _ = await joined(house, _pk="me")
        await emit(peer, "a", id="1")
        first = await peer.until("accepted")
        await peer.socket.close()
        again, _ = await joined(house, _pk="me")
        await emit(again, "a", id="1")

        assert await again.until("accepted") == first
        assert (await joined(house))[1][1]["state"] == {"names": ["a"]}


async def test_nobody_sees_what_is_not_stored():
    log = SlowLog()
    async with running(PARTIES, log) as house:
        peer, _ = await joined(house)
        log.may_store.clear()
        await emit(peer, "a", id="1")
        await peer.send("not json")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await peer.socket.recv()

        log.may_store.set()

        assert [(await peer.next())["type"] for _ in range(3)] == [
            "event",
            "accepted",
            "error",
        ]


async def test_a_refused_append_is_told_and_leaves_no_trace():
    log = SlowLog()
    async with running(PARTIES, log) as house:
        peer, _ = await joined(house)
        log.refuses = True
        await emit(peer, "lost", id="1")
        refusal = await peer.until("error")
        log.refuses = False
        async with asyncio.timeout(5):
            while True:
                await emit(peer, "kept", id="2")
                frame = await peer.next()
                if frame["type"] == "event":
                    break

        assert (refusal["code"], refusal["id"]) == ("not-stored", "1")
        assert frame["offset"] == 1
        assert (await joined(house))[1][1]["state"] == {"names": ["kept"]}


async def test_each_message_that_is_not_stored_is_refused_exactly_once():
    log = SlowLog()
    async with running(PARTIES, log) as house:
        peer, _ = await joined(house)
        log.refuses = log.is_full = True
        await emit(peer, "a")
        await emit(peer, "b", id="1")
        await emit(peer, "c")
        refusals = [await peer.next() for _ in range(3)]
        log.refuses = log.is_full = False
        async with asyncio.timeout(5):
            frame = {}
            while frame.get("type") != "event":
                await emit(peer, "kept")
                frame = await peer.next()

        assert [refusal["type"] for refusal in refusals] == ["error"] * 3
        assert {refusal["code"] for refusal in refusals} == {"not-stored"}
        assert [refusal.get("id") for refusal in refusals] == [None, "1", None]
        assert frame["name"] == "kept"


async def test_a_room_that_cannot_write_is_read_as_if_nothing_were_wrong():
    log = SlowLog()
    async with running(PARTIES, log) as house:
        peer, frames = await joined(house)
        await emit(peer, "a")
        await peer.until("event")
        log.refuses = log.is_full = True
        await emit(peer, "lost", id="1")
        await peer.until("error")

        _, fresh = await joined(house)
        _, again = await joined(house, epoch=frames[0]["epoch"], offset=0)

        assert fresh[1]["state"] == {"names": ["a"]}
        assert [frame["type"] for frame in again] == ["connected", "event", "tick"]


async def test_a_hook_never_sees_what_the_log_refused():
    class LooksBack(NotesRoom):
        async def receive(self, connection, message):
            seen.append(list(self.names))
            return await super().receive(connection, message)

    seen = []
    log = SlowLog()
    async with running({"ops": LooksBack}, log) as house:
        first, _ = await joined(house)
        other, _ = await joined(house)
        log.may_store.clear()
        await emit(first, "lost")
        await wait_until(lambda: len(seen) == 1)
        await emit(other, "after", id="1")
        await wait_until(lambda: len(seen) == 2)
        assert seen[1] == ["lost"], "the second hook did not run in between"
        log.refuses = True
        log.may_store.set()
        await other.until("error")
        log.refuses = False
        await emit(other, "now")
        await wait_until(lambda: len(seen) == 3)

        assert seen[2] == []


async def wait_until(claim):
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0.005)


async def test_a_room_that_is_let_go_while_it_fails_does_not_take_its_log_back():
    log = SlowLog()
    async with running(PARTIES, log) as house:
        peer, _ = await joined(house)
        log.refuses = log.is_full = True
        await emit(peer, "lost", id="1")
        await peer.until("error")
        old = house.hub.find("ops", "main")
        await peer.socket.close()
        house.hub.let_go(old)
        log.refuses = log.is_full = False
        peer, _ = await joined(house)
        before = await log.claim(RoomKey("ops", "main"))
        await asyncio.sleep(0.2)  # longer than the old one's next try would take

        assert await log.claim(RoomKey("ops", "main")) == before + 1


async def test_an_entry_whose_sending_fails_holds_nothing_back(caplog):
    class Clumsy(NotesRoom):
        def on_entry(self, message):
            if message.name == "bad":
                raise RuntimeError("a bug of its author")

    async with running({"ops": Clumsy}) as house:
        peer, _ = await joined(house)
        await emit(peer, "bad", id="1")
        await emit(peer, "good", id="2")

        kinds = [(await peer.next())["type"] for _ in range(3)]

        assert kinds == ["accepted", "event", "accepted"]
        assert "was not passed on" in caplog.text


async def test_what_appends_took_is_counted_once_an_entry():
    async with running(PARTIES) as house:
        peer, _ = await joined(house)
        for number in range(5):
            await emit(peer, f"n{number}")
            await peer.until("event")

        [family] = house.hub.append_seconds.collect()
        samples = {s.name: s.value for s in family.samples if "le" not in s.labels}

        assert family.name == "vibehq_append_seconds"
        assert samples["vibehq_append_seconds_count"] == 5
        assert samples["vibehq_append_seconds_sum"] > 0


async def test_a_saved_state_has_its_hash_in_the_log():
    log = MemoryRoomLog()
    async with running(PARTIES, log) as house:
        peer, _ = await joined(house)
        for number in range(520):
            await emit(peer, f"n{number}")
        while (await peer.until("event"))["name"] != "n519":
            pass
        opened = await log.open(RoomKey("ops", "main"))
        after = await log.read(RoomKey("ops", "main"), opened.saved_offset, 100)

        assert opened.saved_offset >= 500
        assert any(
            vouches(entry.body, opened.saved_offset, opened.saved_state)
            for entry in after
        )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", "bad-message"),
        ('{"type":"event","type":"event","name":"x"}', "bad-message"),
        ('{"type":"event","name":NaN}', "bad-message"),
        ('{"type":"event","name":"\\ud800"}', "bad-message"),
        ('{"type":"event"}', "bad-message"),
        ('{"type":"event","name":' + "[" * 100 + "]" * 100 + "}", "bad-message"),
        ("[]", "bad-message"),
        ("", "bad-message"),
        ('{"type":"launch"}', "unknown-type"),
        ('{"type":"event","name":"no"}', "refused"),
        ('{"type":"event","name":"boom"}', "internal"),
        (b"bytes", "forbidden"),
    ],
)
async def test_a_bad_message_is_one_error_and_the_connection_stays(text, code):
    async with running(PARTIES) as house:
        peer, _ = await joined(house)

        await peer.send(text)
        error = await peer.next()
        await emit(peer, "a")

        assert error["type"] == "error"
        assert error["code"] == code
        assert "secret" not in json.dumps(error)
        assert (await peer.next())["name"] == "a"


async def test_a_viewer_may_not_send_what_operators_may():
    async with running(PARTIES) as house:
        peer = await house.connect("ops/main", roles="viewer")
        await peer.until("tick")

        await emit(peer, "a")

        assert (await peer.next())["code"] == "forbidden"


@pytest.mark.parametrize(
    ("room", "status"),
    [
        ("nosuch/main", 400),
        ("ops/a%00b", 404),
        ("ops/" + "x" * 257, 404),
        ("ops", 404),
    ],
)
async def test_a_wrong_room_is_refused_before_the_upgrade(room, status):
    async with running(PARTIES) as house:
        with pytest.raises(InvalidStatus) as refusal:
            await house.connect(room)

        assert refusal.value.response.status_code == status
        assert json.loads(refusal.value.response.body)["message"]


async def test_another_users_connection_id_is_refused():
    async with running(PARTIES) as house:
        await joined(house, _pk="mine")

        with pytest.raises(InvalidStatus) as refusal:
            await house.connect("ops/main", user="eve", _pk="mine")

        assert refusal.value.response.status_code == 403


async def test_state_outlives_the_room_and_offsets_go_on():
    log = MemoryRoomLog()
    async with running(PARTIES, log) as house:
        peer, _ = await joined(house)
        for number in range(1200):
            await emit(peer, f"n{number}")
        while (await peer.until("event"))["name"] != "n1199":
            pass
        head = (await log.open(RoomKey("ops", "main"))).head
    async with running(PARTIES, log) as house:
        _, frames = await joined(house)

        assert frames[0]["offset"] == head
        assert len(frames[1]["state"]["names"]) == 1200


async def test_a_consumer_that_does_not_read_is_closed_and_others_are_not():
    async with running(PARTIES) as house:
        slow, _ = await joined(house)
        slow.socket.transport.pause_reading()
        fast, _ = await joined(house)
        filler = "x" * 30_000

        async def write():
            for number in range(400):
                await emit(fast, f"n{number}", data={"filler": filler})

        writing = asyncio.create_task(write())
        seen = [await fast.until("event") for _ in range(400)]
        await writing
        slow.socket.transport.resume_reading()

        assert [event["offset"] for event in seen] == list(range(1, 401))
        assert await slow.close_code() in (4408, 1006)


async def test_a_client_far_behind_is_sent_the_state_and_the_gap():
    async with running(PARTIES) as house:
        peer, frames = await joined(house)
        for number in range(300):
            await emit(peer, f"n{number}", data={"filler": "x" * 20_000})
        while (await peer.until("event"))["offset"] < 300:
            pass

        _, again = await joined(house, epoch=frames[0]["epoch"], offset=0)

        assert [f["type"] for f in again] == ["connected", "gap", "snapshot", "tick"]
        assert (again[1]["from"], again[1]["to"]) == (0, 300)


async def test_a_tick_that_fails_in_one_room_reaches_the_others(monkeypatch):
    class BadRoom(NotesRoom):
        def tick(self):
            raise RuntimeError("a bug of its author")

    monkeypatch.setattr("vibehq_server.hub.TICK_SECONDS", 0.01)
    async with running({"ops": NotesRoom, "hil": BadRoom}) as house:
        bad = await house.connect("hil/main")
        await bad.until("tick")
        peer, _ = await joined(house)

        assert (await peer.next())["type"] == "tick"


async def test_a_message_whose_hook_raises_is_answered_under_its_id():
    async with running(PARTIES) as house:
        peer, _ = await joined(house)

        await emit(peer, "boom", id="7")

        error = await peer.next()
        assert (error["code"], error["id"]) == ("internal", "7")
