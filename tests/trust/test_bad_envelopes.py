"""
Messages nobody should send, and what each is answered (B46 to B58).

Where the catalogue says `bad_json` and `bad_field`, there is one code here,
`bad-message`: its sentence names the field.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.house import PERSON, House, Peer, running
from tests.rounds import rounds
from vibehq_nb.core.approvals import digest
from vibehq_nb.core.codec import Decoder, decode_plain, encode
from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.messages import MESSAGE_TYPES, UPSTREAM, type_of
from vibehq_server.rooms.hil import HilRoom
from vibehq_server.rooms.ops import OpsRoom
from vibehq_server.rooms.terminal import TerminalRoom

PARTIES = {"ops": OpsRoom, "hil": HilRoom, "terminal": TerminalRoom}
CANARY = "c4n4ry"
DEEP = '{"type":"event","name":"a","data":' + "[" * 60_000 + "]" * 5 + "}"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running(PARTIES, approvers=lambda: frozenset({"ana", "bob"})) as started:
        yield started


async def joined(house: House, room: str = "ops/main", user: str = "ana") -> Peer:
    peer = await house.connect(room, user, PERSON)
    await peer.until("connected" if room.startswith("terminal") else "tick")
    return peer


async def assert_still_serving(*peers: Peer) -> None:
    """Each of them is told what one of them says."""
    await peers[0].send({"type": "event", "name": "still here"})
    for peer in peers:
        event = await peer.until("event")
        assert event["name"] == "still here"


def event(text: str) -> str:
    return '{"type":"event","name":"a","data":{"x":' + text + "}}"


CASES = [
    pytest.param(
        "ops/main",
        [
            DEEP,
            "[" * 65_536,
            event("[" * 20 + "]" * 20),
            event('{"a":' * 20 + "1" + "}" * 20),
        ],
        "bad-message",
        id="B46-nested-too-deep",
    ),
    pytest.param(
        "ops/main",
        [event(text) for text in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999")],
        "bad-message",
        id="B47-numbers-that-are-none",
    ),
    pytest.param(
        "terminal/web-1",
        [
            '{"type":"ack","offset":' + number + "}"
            for number in ("9" * 5000, str(2**53 + 1), str(2**53), "1" + "0" * 400)
        ],
        "bad-message",
        id="B48-numbers-too-large",
    ),
    pytest.param(
        "ops/main",
        [
            '{"type":"event","type":"event","name":"a"}',
            '{"type":"event","name":"c4n4ry","name":"b"}',
            event('{"a":1,"a":1}'),
            '{"type":"event","name":"a","na\\u006de":"b"}',
        ],
        "bad-message",
        id="B49-keys-twice",
    ),
    pytest.param(
        "terminal/web-1",
        [
            '{"type":"resize","rows":24}',
            '{"type":"resize","cols":null,"rows":24}',
            '{"type":"resize","cols":true,"rows":24}',
            '{"type":"resize","cols":[],"rows":24}',
            '{"type":"resize","cols":"80","rows":24}',
            '{"type":"resize","cols":1.5,"rows":24}',
            '{"type":"writer","action":"c4n4ry"}',
            '{"type":"ack","offset":{"c4n4ry":1}}',
            '{"type":"ack","' + "c4n4ry" * 5000 + '":1}',
            '{"type":null}',
            '{"type":["ack"],"offset":1}',
        ],
        "bad-message",
        id="B53-fields-of-another-kind",
    ),
    pytest.param(
        "ops/main",
        ["", " ", "[]", "null", '"c4n4ry"', "1", "{", "c4n4ry", "\ufeff{}", "{}{}"],
        "bad-message",
        # Bytes where text is due are `forbidden`: see the test of replicated rooms.
        id="B54-not-an-object",
    ),
]


@pytest.mark.parametrize(("room", "variants", "code"), CASES)
async def test_a_bad_message_is_one_error_and_the_connection_stays(
    house: House, room: str, variants: list[str], code: str
) -> None:
    hostile = await joined(house, room)
    honest = await joined(house)
    for text in variants:
        await hostile.send(text)
        error = await hostile.next()

        assert (error["type"], error["code"]) == ("error", code), text[:60]
        assert CANARY not in json.dumps(error)
        assert "Traceback" not in error["message"]
        assert len(error["message"]) < 300
    await assert_still_serving(honest, *([hostile] if room == "ops/main" else []))


def test_a_nest_of_any_depth_is_refused_within_milliseconds() -> None:
    best = min(seconds_to_refuse(DEEP) for _ in range(5))

    assert best < 0.005


def seconds_to_refuse(text: str) -> float:
    started = time.perf_counter()
    with pytest.raises(DecodeError):
        decode_plain(text)
    return time.perf_counter() - started


async def test_a_refusal_names_the_field(house: House) -> None:
    peer = await joined(house, "terminal/web-1")
    await peer.send({"type": "resize", "cols": "80", "rows": 24})

    assert "$.cols" in (await peer.until("error"))["message"]


async def test_b50_half_a_character_reaches_nobody_and_nul_reaches_all_unharmed(
    house: House,
) -> None:
    # NUL is a character of JSON like others: refusing it would refuse honest output.
    hostile, honest = await joined(house), await joined(house)
    for text in (event('"\\ud800"'), event('"\\udc00\\ud800"'), event('{"\\ud800":1}')):
        await hostile.send(text)
        assert (await hostile.next())["code"] == "bad-message"
    await hostile.send(event('"a\\u0000b"'))

    for peer in (honest, hostile):
        assert (await peer.until("event"))["data"] == {"x": "a\0b"}
    await assert_still_serving(hostile, honest)


async def test_b51_unknown_types_are_told_and_the_tenth_closes(house: House) -> None:
    hostile, honest = await joined(house), await joined(house)
    for kind in ("c4n4ry", "hil-decision", "resize", "", "Event", "connected") * 2:
        await hostile.send({"type": kind, "name": CANARY})
    errors = []
    while len(errors) < 10:
        errors.append(await hostile.next())

    assert {error["code"] for error in errors} == {"unknown-type"}
    assert CANARY not in json.dumps(errors)
    assert await hostile.close_code() == 1008
    await assert_still_serving(honest)


async def test_b52_unknown_fields_are_ignored_but_never_on_a_decision(
    house: House,
) -> None:
    ops = await joined(house)
    await ops.send({"type": "event", "name": "a", "c4n4ry": 1})
    assert (await ops.next())["name"] == "a"

    ana, bob = [await joined(house, "hil/main", user) for user in ("ana", "bob")]
    asked = {
        "type": "hil-request",
        "kind": "review",
        "question": "Restart?",
        "action": {"command": "restart"},
    }
    await ana.send(asked | {"approved": True})
    assert (await ana.until("error"))["code"] == "bad-message"
    await ana.send(asked)
    request = await bob.until("hil-request")
    decided = {
        "type": "hil-decision",
        "approval_id": request["approval_id"],
        "version": request["version"],
        "verdict": "approve",
        "action_digest": digest(asked["action"]),
        "key": "k1",
        "reason": "seen",
    }
    await bob.send(decided | {"force": True})
    error = await bob.until("error")
    assert error["code"] == "bad-message"
    assert "force" not in error["message"]
    await bob.send(decided)
    assert (await bob.until("hil-decision"))["decided_by"] == "bob"


async def test_b55_who_and_when_are_the_servers_to_say(house: House) -> None:
    hostile, honest = await joined(house), await joined(house)
    await hostile.send(
        {
            "type": "event",
            "name": "a",
            "by": "root",
            "at": "1970-01-01T00:00:00Z",
            "from": "root",
            "role": "admin",
            "offset": 999,
            "server_time": 0,
        }
    )
    told = await honest.until("event")

    assert (told["by"], told["offset"]) == ("ana", 1)
    assert not told["at"].startswith("1970")
    assert not {"from", "role", "server_time"} & set(told)


async def test_b56_a_replayed_id_gets_the_first_answer_and_no_second_effect(
    house: House,
) -> None:
    peer, other = await joined(house), await joined(house, user="bob")
    sent = {"type": "event", "name": "once", "id": "1"}
    await peer.send(sent)
    first = await peer.until("accepted")
    await peer.send(sent)
    await peer.send(sent | {"name": "other"})
    assert [await peer.until("accepted") for _ in range(2)] == [first, first]
    # Another user's id is another id.
    await other.send(sent | {"name": "bobs"})
    assert (await other.until("accepted"))["offset"] > first["offset"]

    assert [e["name"] for e in (await fresh(house))["events"]] == ["bobs", "once"]


async def fresh(house: House) -> dict[str, Any]:
    """The state a new client is told."""
    peer = await house.connect("ops/main", "vic", "viewer")
    state: dict[str, Any] = (await peer.until("snapshot"))["state"]
    return state


async def test_b57_offsets_below_zero_are_refused_and_those_ahead_are_not_believed(
    house: House,
) -> None:
    hostile = await joined(house, "terminal/web-1")
    await hostile.send({"type": "ack", "offset": -1})
    assert (await hostile.until("error"))["code"] == "bad-message"
    # Ahead of what was sent it counts as far as was sent.
    await hostile.send({"type": "ack", "offset": 2**53 - 1})
    await hostile.send({"type": "ack", "offset": "still here"})
    assert (await hostile.next())["code"] == "bad-message"
    (viewer,) = (await house.hub.room("terminal", "web-1")).viewers
    assert viewer.pace.acked == 0

    peer = await house.connect("ops/main", "ana", PERSON)
    epoch = (await peer.until("connected"))["epoch"]
    for offset in (1, 2**53, "-1", "1e3", "+1", "%D9%A1"):
        again = await house.connect(
            "ops/main", "ana", PERSON, epoch=epoch, offset=offset
        )
        assert (await again.until("connected"))["resume"] in {"reset", "fresh"}
        assert (await again.next())["type"] == "snapshot"


async def test_b58_a_thousand_messages_in_a_second_close_with_4429(
    house: House,
) -> None:
    hostile, honest = await joined(house), await joined(house)
    for number in range(1000):
        await hostile.send({"type": "event", "name": f"n{number}"})

    assert await hostile.close_code() == 4429
    await honest.send({"type": "event", "name": "still here"})
    told = []
    while not told or told[-1] != "still here":
        told.append((await honest.until("event"))["name"])
    # The burst, and what came back while it was read; nothing out of its midst.
    assert 200 <= len(told) - 1 < 400
    assert told[:-1] == [f"n{number}" for number in range(len(told) - 1)]


async def test_keys_and_acknowledgements_are_not_held_to_the_rate_of_messages(
    house: House,
) -> None:
    peer = await joined(house, "terminal/web-1")
    for number in range(1000):
        await peer.send({"type": "ack", "offset": number})
    await peer.send({"type": "writer", "action": "take"})

    assert (await peer.until("writer"))["user"] == "ana"


async def test_a_worker_is_held_to_no_rate(house: House) -> None:
    worker = await house.connect("ops/main", "w1", "worker")
    await worker.until("tick")
    for number in range(300):
        await worker.send({"type": "event", "name": f"n{number}"})
    async with asyncio.timeout(10):
        while (await worker.until("event"))["name"] != "n299":
            pass


# Random text, at the one place where text becomes messages

TYPES = sorted({type_of(kind) for kind in MESSAGE_TYPES.values()})
DECODERS = [Decoder(kinds) for kinds in UPSTREAM.values() if kinds]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["take", "approve", "\ud800", "x" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    sorted({f for kind in MESSAGE_TYPES.values() for f in kind.__struct_fields__})
)
ENVELOPES = st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}),
    st.sampled_from(TYPES),
    st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=8),
)
SCRAPS = st.lists(
    st.sampled_from([*'{}[],:"\\', "NaN", "1e999", "\\ud800", "type", "ack", "\0"])
    | st.text(max_size=3),
    max_size=40,
).map("".join)


def refusal_of(decode: Callable[[Any], Any], given: str | bytes) -> DecodeError | None:
    try:
        decode(given)
    except DecodeError as error:
        return error
    return None


def assert_is_one_sentence(error: DecodeError) -> None:
    assert error.code in {"bad-message", "unknown-type"}
    assert 0 < len(error.reason) < 300
    assert "\n" not in error.reason


@settings(max_examples=rounds(6000), deadline=None)
@given(text=ENVELOPES | SCRAPS | st.text())
def test_random_text_is_a_message_or_one_sentence(text: str) -> None:
    for decoder in DECODERS:
        error = refusal_of(decoder.decode, text)
        if error is not None:
            assert_is_one_sentence(error)
        else:
            assert json.loads(encode(decoder.decode(text)))["type"] in TYPES


@settings(max_examples=rounds(2000), deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_json_or_one_sentence(data: bytes) -> None:
    error = refusal_of(decode_plain, data)
    if error is not None:
        assert_is_one_sentence(error)
