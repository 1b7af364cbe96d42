"""The HIL room over real sockets and a real file: decided once, never lost."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from tests.integration.house import OPERATOR, PERSON, House, Peer, running
from tests.integration.programs import python
from vibehq_nb.core.approvals import ConflictError, digest
from vibehq_nb.core.errors import DeniedError, NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import AskApproval, Decide, HilDecision
from vibehq_nb.core.roles import NOTEBOOK, Role
from vibehq_nb.core.roles import PERSON as PERSON_ROLES
from vibehq_nb.core.tasks import Trigger
from vibehq_server.identity import Identity
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.rooms.hil import HilRoom

START = 1_790_000_000.0
ACTION = {"command": "restart web-1", "args": ["--now"]}
ANA = Identity("ana", "person", PERSON_ROLES, "s1")
ANAS_NOTEBOOK = Identity("ana", "notebook", NOTEBOOK, "s2")
BOB = Identity("bob", "person", PERSON_ROLES, "s3")
ADMIN = Identity("root", "person", frozenset({Role.ADMIN}), "s4")

keys = itertools.count()


class Clock:
    """The time the server believes in."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def hil(clock=None, log=None, people=("ana", "bob")) -> AsyncIterator[House]:
    async with running(
        {"hil": HilRoom},
        log,
        clock=clock or Clock(),
        approvers=lambda: frozenset(people),
    ) as house:
        yield house


async def room_of(house: House) -> HilRoom:
    return await house.hub.room("hil", "main")


async def joined(house: House, user="ana", roles=PERSON, **query) -> Peer:
    peer = await house.connect("hil/main", user, roles, **query)
    await peer.until("tick")
    return peer


def question(kind="review", **more) -> dict:
    return {
        "type": "hil-request",
        "kind": kind,
        "question": "Restart web-1?",
        "action": ACTION,
        **more,
    }


def ask(kind="review", **more) -> AskApproval:
    plain = question(kind, **more)
    plain.pop("type")
    return AskApproval(**plain)


def answer(request, verdict="approve", **more) -> dict:
    get = request.get if isinstance(request, dict) else request.__getattribute__
    return {
        "type": "hil-decision",
        "approval_id": get("approval_id"),
        "version": get("version"),
        "verdict": verdict,
        "action_digest": get("action_digest"),
        "key": f"k{next(keys)}",
        "reason": "seen" if verdict == "approve" else "too risky",
        **more,
    }


def decision(request, verdict="approve", **more) -> Decide:
    plain = answer(request, verdict, **more)
    plain.pop("type")
    return Decide(**plain)


def refused(code: str):
    return pytest.raises(DeniedError, check=lambda error: error.code == code)


async def test_everybody_sees_the_request_the_decision_and_what_follows():
    async with hil() as house:
        ana, bob = await joined(house), await joined(house, "bob")
        await ana.send(question(task_id="t1", id="m1"))
        request = await bob.until("hil-request")
        review = await bob.until("hil-state")
        task = await bob.until("task-state")
        await bob.send(answer(request))
        seen = [await ana.next() for _ in range(8)]

    assert request["requested_by"] == "ana"
    assert request["action_digest"] == digest(ACTION)
    assert (review["state"], review["deciders"]) == ("review", ["bob"])
    assert (task["task_id"], task["state"]) == ("t1", "review")
    assert [frame["type"] for frame in seen] == [
        "hil-request",
        "hil-state",
        "task-state",
        "accepted",
        "hil-decision",
        "hil-request",
        "hil-state",
        "task-state",
    ]
    assert (seen[4]["decided_by"], seen[4]["status"]) == ("bob", "approved")
    assert (seen[5]["status"], seen[5]["version"]) == ("approved", 2)
    assert seen[5]["decisions"][0]["reason"] == "seen"
    assert (seen[6]["state"], seen[7]["state"]) == ("resumed", "running")
    offsets = [frame["offset"] for frame in seen if frame["type"] != "accepted"]
    assert offsets == sorted(set(offsets))


async def test_a_rejection_closes_and_the_task_stays_paused():
    async with hil() as house:
        ana, bob = await joined(house), await joined(house, "bob")
        await ana.send(question(task_id="t1"))
        request = await bob.until("hil-request")
        await bob.until("task-state")
        await bob.send(answer(request, "reject"))
        state, task = await ana.until("hil-decision"), await bob.until("task-state")

        assert (state["status"], state["reason"]) == ("rejected", "too risky")
        assert task["state"] == "paused"


async def test_a_refusal_is_one_message_to_the_sender():
    async with hil(people=("ana",)) as house:
        ana = await joined(house)
        await ana.send(question(id="m1"))
        refusal = await ana.next()

    assert refusal == {
        "type": "error",
        "code": "unsatisfiable",
        "id": "m1",
        "message": "Nobody but you (ana) may approve on this server. "
        "Use task.confirm(…), or a shared server: vibehq serve.",
    }


async def test_an_operator_asks_and_may_not_decide():
    async with hil() as house:
        tom = await joined(house, "tom", OPERATOR)
        await tom.send(question())
        request = await tom.until("hil-request")
        await tom.send(answer(request))

        assert (await tom.until("error"))["code"] == "forbidden"
        assert (await room_of(house)).get(request["approval_id"]).status == "pending"


async def test_a_notebook_never_decides_whatever_its_roles_say():
    async with hil() as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANAS_NOTEBOOK, ask("confirm"))
        for kind in ("notebook", "worker"):
            lying = Identity("ana", kind, PERSON_ROLES)
            with refused("forbidden"):
                await room.run(room.decide, lying, decision(request))

        answered = await room.run(room.decide, ANA, decision(request))

        assert (answered.status, answered.decided_by) == ("approved", "ana")


async def test_a_person_and_his_notebook_are_one_human_on_a_review():
    async with hil() as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANAS_NOTEBOOK, ask())

        with refused("forbidden"):
            await room.run(room.decide, ANA, decision(request))


async def test_of_many_deciders_exactly_one_wins(tmp_path: Path):
    people = [f"p{n}" for n in range(50)]
    log = SqliteRoomLog(tmp_path / "rooms.sqlite3")
    async with hil(log=log, people=("ana", *people)) as house:
        room = await room_of(house)
        for _ in range(20):
            request = await room.run(room.ask, ANA, ask())
            verdicts = itertools.cycle(["approve", "reject"])
            results = await asyncio.gather(
                *[
                    room.run(
                        room.decide,
                        Identity(who, "person", PERSON_ROLES),
                        decision(request, verdict),
                    )
                    for who, verdict in zip(people, verdicts, strict=False)
                ],
                return_exceptions=True,
            )

            won = [r for r in results if not isinstance(r, BaseException)]
            lost = [r for r in results if isinstance(r, ConflictError)]
            assert (len(won), len(lost)) == (1, 49)
            first = lost[0].approval.decisions[0]
            assert (first.decided_by, first.verdict) == (
                won[0].decided_by,
                won[0].verdict,
            )


async def test_the_same_key_gets_the_same_answer_after_a_kill(tmp_path: Path):
    path = tmp_path / "rooms.sqlite3"
    async with hil(log=SqliteRoomLog(path)) as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask())
        cast = decision(request)
        first = await room.run(room.decide, BOB, cast)

    async with hil(log=SqliteRoomLog(path)) as house:
        room = await room_of(house)
        again = await room.run(room.decide, BOB, cast)
        head = room.log.head
        await room.run(room.decide, BOB, cast)

        assert again == first
        assert room.log.head == head
        with refused("conflict"):
            await room.run(room.decide, BOB, decision(request))


DECIDES = """
    import asyncio, os, sys
    from pathlib import Path
    import msgspec
    from vibehq_nb.core.messages import AskApproval, Decide
    from vibehq_nb.core.roles import PERSON
    from vibehq_server.hub import Hub
    from vibehq_server.identity import Identity
    from vibehq_server.room_logs.sqlite import SqliteRoomLog
    from vibehq_server.rooms.hil import HilRoom

    ana, bob = [Identity(name, "person", PERSON) for name in ("ana", "bob")]
    asked = AskApproval(question="?", action={"command": "x"}, kind="review")

    async def main():
        people = frozenset({"ana", "bob"})
        log = SqliteRoomLog(Path(sys.argv[1]))
        hub = Hub({"hil": HilRoom}, log, approvers=lambda: people)
        room = await hub.room("hil", "main")
        while True:
            request = await room.run(room.ask, ana, asked)
            cast = Decide(
                approval_id=request.approval_id,
                version=request.version,
                verdict="approve",
                action_digest=request.action_digest,
                key="k",
            )
            decided = await room.run(room.decide, bob, cast)
            os.write(1, msgspec.json.encode([cast, decided]) + b"\\n")

    asyncio.run(main())
"""


@pytest.mark.timeout(120)
async def test_kill_9_loses_no_decision_and_doubles_none(tmp_path: Path):
    path = tmp_path / "rooms.sqlite3"
    acked: list[tuple[Decide, HilDecision]] = []
    for round_ in range(5):
        with python(DECIDES, str(path)) as process:
            for _ in range(5 + 7 * round_):
                line = process.stdout.readline()
                acked.append(msgspec.json.decode(line, type=tuple[Decide, HilDecision]))
            process.kill()

    async with hil(log=SqliteRoomLog(path)) as house:
        room = await room_of(house)
        head = room.log.head
        for cast, decided in acked:
            assert await room.run(room.decide, BOB, cast) == decided
        assert room.log.head == head


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"version": 9}, "stale"),
        ({"action_digest": "0" * 64}, "stale"),
        ({"approval_id": "nobody"}, "not-found"),
        ({"verdict": "reject", "reason": "  "}, "bad-request"),
    ],
)
async def test_wrong_decisions_are_refused_and_change_nothing(wrong, code):
    async with hil() as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask())
        head = room.log.head
        with refused(code):
            await room.run(room.decide, BOB, decision(request, **wrong))

        assert room.log.head == head
        assert room.get(request.approval_id) == request


async def test_the_clock_decides_even_if_no_timer_came(clock: Clock):
    async with hil(clock) as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask(expires_in=3600.0, task_id="t"))
        clock.now += 3599.999
        late = await room.run(room.ask, ANA, ask(expires_in=3600.0))
        clock.now += 0.001

        with refused("expired"):
            await room.run(room.decide, BOB, decision(request))

        assert room.get(request.approval_id).status == "expired"
        assert room.state()["tasks"]["t"]["state"] == "paused"
        assert room.get(late.approval_id).status == "pending"
        with refused("expired"):
            await room.run(room.decide, BOB, decision(request))


async def test_a_request_nobody_answers_expires_by_itself(clock: Clock):
    async with hil(clock) as house:
        bob = await joined(house, "bob")
        room = await room_of(house)
        await room.run(room.ask, ANA, ask(expires_in=3600.0))
        clock.now += 10
        await room.run(room.ask, ANA, ask(expires_in=1.0))
        first = [await bob.until("hil-request") for _ in range(2)]
        clock.now += 1.0

        expired = await bob.until("hil-request")
        state = await bob.until("hil-state")

        assert expired["approval_id"] == first[1]["approval_id"]
        assert (expired["status"], expired["version"]) == ("expired", 2)
        assert state["state"] == "paused"


async def test_what_expired_while_the_server_was_down_is_expired_at_its_start(
    tmp_path: Path, clock: Clock
):
    path = tmp_path / "rooms.sqlite3"
    async with hil(clock, SqliteRoomLog(path)) as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask(expires_in=60.0))
    clock.now += 3600

    async with hil(clock, SqliteRoomLog(path)) as house:
        bob = await house.connect("hil/main", "bob", PERSON)
        snapshot = await bob.until("snapshot")
        told = snapshot["state"]["requests"][request.approval_id]
        if told["status"] == "pending":
            told = await bob.until("hil-request")

        assert told["status"] == "expired"


async def test_a_late_timer_does_not_touch_a_decided_request(clock: Clock):
    async with hil(clock) as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask(expires_in=60.0))
        await room.run(room.decide, BOB, decision(request))
        head = room.log.head
        clock.now += 3600
        due = datetime.fromisoformat(request.expires_at)
        await room.run(room._sweep, due)

        assert room.log.head == head
        assert room.get(request.approval_id).status == "approved"


async def test_only_the_requester_or_an_admin_withdraws():
    async with hil() as house:
        room = await room_of(house)
        one, other = [await room.run(room.ask, ANA, ask()) for _ in range(2)]
        with refused("forbidden"):
            await room.run(room.cancel, BOB, one.approval_id)

        first = await room.run(room.cancel, ANAS_NOTEBOOK, one.approval_id)
        second = await room.run(room.cancel, ADMIN, other.approval_id)

        assert (first.status, second.status) == ("cancelled", "cancelled")
        with refused("conflict"):
            await room.run(room.decide, BOB, decision(one))


async def test_a_request_is_withdrawn_over_the_socket():
    async with hil() as house:
        ana, bob = await joined(house), await joined(house, "bob")
        await ana.send(question())
        request = await bob.until("hil-request")
        withdrawal = {"type": "hil-cancel", "approval_id": request["approval_id"]}
        await bob.send({**withdrawal, "id": "m1"})
        refusal = await bob.until("error")
        await ana.send({**withdrawal, "id": "m2"})
        gone = await bob.until("hil-request")

    assert (refusal["code"], refusal["id"]) == ("forbidden", "m1")
    assert gone["status"] == "cancelled"


async def test_a_request_that_has_expired_is_not_cancelled_but_expired(clock: Clock):
    async with hil(clock) as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask(expires_in=60.0))
        clock.now += 60
        with refused("conflict"):
            await room.run(room.cancel, ANA, request.approval_id)

        assert room.get(request.approval_id).status == "expired"


async def test_too_many_open_requests_are_refused():
    async with hil() as house:
        room = await room_of(house)
        await room.run(lambda: [room.ask(ANA, ask()) for _ in range(1000)])

        with refused("busy"):
            await room.run(room.ask, ANA, ask())


async def test_a_viewer_moves_no_task():
    async with hil() as house:
        room = await room_of(house)
        viewer = Identity("vic", "person", frozenset({Role.VIEWER}))

        with refused("forbidden"):
            await room.run(room.move_task, viewer, "t", Trigger.CANCEL)


async def test_an_approval_is_used_once_for_its_action_only():
    async with hil() as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask())
        key = request.approval_id, request.action_digest
        with refused("conflict"):
            await room.run(room.consume, ANA, *key)
        await room.run(room.decide, BOB, decision(request))
        with refused("stale"):
            await room.run(room.consume, ANA, key[0], digest({"command": "rm -rf /"}))
        with refused("forbidden"):
            await room.run(room.consume, BOB, *key)

        results = await asyncio.gather(
            *[room.run(room.consume, ANA, *key) for _ in range(10)],
            return_exceptions=True,
        )

        assert sum(not isinstance(result, Exception) for result in results) == 1


async def test_a_task_with_two_questions_goes_on_after_both():
    async with hil() as house:
        room = await room_of(house)
        one = await room.run(room.ask, ANA, ask(task_id="t"))
        two = await room.run(room.ask, ANA, ask(task_id="t"))
        await room.run(room.decide, BOB, decision(one))
        assert room.state()["tasks"]["t"]["state"] == "review"
        await room.run(room.decide, BOB, decision(two))

        assert room.state()["tasks"]["t"]["state"] == "running"


async def test_cancelling_a_task_withdraws_what_it_asked_and_ends_it():
    async with hil() as house:
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask(task_id="t"))
        ended = await room.run(room.move_task, ANA, "t", Trigger.CANCEL)

        assert ended.state == "cancelled"
        assert room.get(request.approval_id).status == "cancelled"
        with refused("conflict"):
            await room.run(room.ask, ANA, ask(task_id="t"))


async def test_nothing_happens_that_is_not_stored():
    log = MemoryRoomLog()
    async with hil(log=log) as house:
        bob = await joined(house, "bob")
        room = await room_of(house)
        request = await room.run(room.ask, ANA, ask())
        await bob.until("hil-state")
        log.is_full = True
        with pytest.raises(NotStoredError):
            await room.run(room.decide, BOB, decision(request))
        log.is_full = False
        async with asyncio.timeout(5):
            answered = None
            while answered is None:  # until the room is what its log says again
                with suppress(NotStoredError):
                    answered = await room.run(room.decide, BOB, decision(request))

        told = await bob.until("hil-decision")
        assert told["key"] == answered.key


async def test_requests_are_listed_newest_first_by_status(clock: Clock):
    async with hil(clock) as house:
        room = await room_of(house)
        asked = []
        for _ in range(5):
            asked.append(await room.run(room.ask, ANA, ask()))
            clock.now += 1
        await room.run(room.decide, BOB, decision(asked[0]))

        pending, total = room.list("pending", limit=2, offset=1)

        assert total == 4
        assert [r.approval_id for r in pending] == [
            asked[3].approval_id,
            asked[2].approval_id,
        ]
        assert room.list()[1] == 5
        with refused("not-found"):
            room.get("nobody")


async def test_finished_requests_leave_the_state_and_stay_in_the_log():
    log = MemoryRoomLog()
    async with hil(log=log) as house:
        room = await room_of(house)
        first = await room.run(room.ask, ANA, ask())
        waiting = await room.run(room.ask, ANA, ask())
        await room.run(room.cancel, ANA, first.approval_id)

        def many() -> None:
            for _ in range(500):
                room.cancel(ANA, room.ask(ANA, ask()).approval_id)

        await room.run(many)

        kept = room.state()["requests"]
        assert len(kept) == 501
        assert waiting.approval_id in kept
        assert first.approval_id not in kept
        entries = await log.read(RoomKey("hil", "main"), 0, 1)
        assert first.approval_id.encode() in entries[0].body


async def test_the_state_is_the_same_after_replay_and_after_a_saved_state(
    tmp_path: Path, clock: Clock
):
    path = tmp_path / "rooms.sqlite3"
    async with hil(clock, SqliteRoomLog(path)) as house:
        room = await room_of(house)
        for number in range(130):
            request = await room.run(room.ask, ANA, ask(task_id=f"t{number % 3}"))
            if number % 2:
                await room.run(room.decide, BOB, decision(request))
        await room.run(room.move_task, ANA, "t2", Trigger.FAIL)
        before = msgspec.json.encode(room.state())

    log = SqliteRoomLog(path)
    opened = await log.open(RoomKey("hil", "main"))
    async with hil(clock, log) as house:
        room = await room_of(house)

        assert opened.saved_offset > 0
        assert msgspec.json.encode(room.state()) == before
