"""The ops room with real workers' sockets: one start and one end for every scan."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from tests.integration.house import OPERATOR, House, Peer, running
from vibehq_nb.core.errors import DecodeError, DeniedError, NotStoredError
from vibehq_nb.core.findings import FINDING_COLUMNS, Coverage, Finding
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import Scan, ScanFailed
from vibehq_nb.core.resources import resource, scope_of
from vibehq_nb.core.roles import NOTEBOOK, Role
from vibehq_nb.core.severity import Severity
from vibehq_server.directory import WorkerInfo
from vibehq_server.identity import Identity
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.rooms import ops_scanning, ops_scans
from vibehq_server.rooms.ops import OpsRoom
from vibehq_server.rooms.worker import WorkerRoom

PARTIES = {"ops": OpsRoom, "worker": WorkerRoom}
ANA = Identity("ana", "notebook", NOTEBOOK)
VIEWER = Identity("vic", "person", frozenset({Role.VIEWER}))
AT = "2026-11-22T03:00:00Z"
ENDS = ("scan-result", "scan-failed")


@asynccontextmanager
async def ops(log=None, **options) -> AsyncIterator[House]:
    async with running(PARTIES, log, **options) as house:
        yield house


async def room_of(house: House) -> OpsRoom:
    return await house.hub.room("ops", "main")


async def watch(house: House, **query) -> Peer:
    peer = await house.connect("ops/main", "ana", OPERATOR, **query)
    await peer.until("tick")
    return peer


async def work(house: House, worker: str = "w1", generation: int = 1) -> Peer:
    """Connect as a worker and wait until the server knows it."""
    peer = await house.connect(f"worker/{worker}", worker, "worker")
    await peer.until("connected")
    await peer.send(
        {
            "type": "worker-hello",
            "protocol": 1,
            "version": "test",
            "worker": worker,
            "host": f"host-{worker}",
            "generation": generation,
            "providers": ["local"],
            "terminals": [],
        }
    )
    await until(lambda: worker in house.hub.directory.online())
    return peer


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


async def asked(worker: Peer) -> dict:
    """Take the next scan and accept it."""
    scan = await worker.until("scan")
    await worker.send({"type": "done", "id": scan["id"]})
    return scan


def finding(name="/", host="w1", severity="high", rule="DSK-001", **more) -> Finding:
    return Finding(
        rule=rule,
        title=f"{name} is full",
        severity=Severity(severity),
        resource=resource("disk", name, host),
        host=host,
        measured=more.pop("measured", 91.0),
        threshold=90.0,
        unit="%",
        **more,
    )


def report(scan: dict, *found: Finding, host="w1", looked=True, **more) -> dict:
    coverage = Coverage(
        detector="DSK-001",
        resource_scope=scope_of("disk", host),
        status="scanned" if looked else "failed",
    )
    return {
        "type": "scan-result",
        "scan_id": scan["scan_id"],
        "processed_logs": 7,
        "started_at": AT,
        "completed_at": AT,
        "coverage": [msgspec.to_builtins(coverage)],
        "findings": msgspec.to_builtins(list(found)),
        **more,
    }


async def scanned(house: House, worker: Peer, *found: Finding, **more) -> dict:
    """Run one scan on one worker and return the result."""
    watcher = await watch(house)
    room = await room_of(house)
    options = more.pop("options", {})
    await room.run(lambda: room.scan(ANA, "full", **options))
    await worker.send(report(await asked(worker), *found, **more))
    return await watcher.until("scan-result")


def refused(code: str):
    return pytest.raises(DeniedError, check=lambda error: error.code == code)


async def test_a_scan_starts_runs_and_ends_for_everybody():
    async with ops() as house:
        worker = await work(house)
        first, second = await watch(house), await watch(house)
        room = await room_of(house)
        scan_id = await room.run(room.scan, ANA, "full", "*", ["disk"], ["/a.log"], {})
        scan = await asked(worker)
        await worker.send(
            {
                "type": "scan-progress",
                "scan_id": scan_id,
                "processed": 1,
                "total": 2,
                "phase": "disk",
            }
        )
        await worker.send(report(scan, finding()))
        seen = [await first.next() for _ in range(4)]
        also = [await second.next() for _ in range(4)]

        assert (scan["scan_id"], scan["scope"], scan["kinds"], scan["logs"]) == (
            scan_id,
            "full",
            ["disk"],
            ["/a.log"],
        )
        assert seen == also
        assert [frame["type"] for frame in seen] == [
            "scan-start",
            "scan-progress",
            "finding-created",
            "scan-result",
        ]
        assert seen[0]["requested_by"] == "ana"
        assert seen[1]["on"] == "w1"
        assert (seen[3]["issues_filed"], seen[3]["processed_logs"]) == (1, 7)
        assert set(FINDING_COLUMNS) <= set(seen[3]["findings"][0])
        assert room.state()["running"] == {}
        assert await room.run(room.scan_result, scan_id) == seen[3] | {
            "requested_by": "ana",
            "at": seen[0]["at"],
        }


async def test_progress_is_passed_on_at_most_every_100_ms_and_always_the_last():
    async with ops() as house:
        worker, watcher = await work(house), await watch(house)
        room = await room_of(house)
        scan_id = await room.run(room.scan, ANA)
        scan = await asked(worker)
        for number in range(1, 101):
            await worker.send(
                {
                    "type": "scan-progress",
                    "scan_id": scan_id,
                    "processed": number,
                    "total": 100,
                    "phase": "disk",
                }
            )
        await worker.send(report(scan))
        frames = []
        while not frames or frames[-1]["type"] != "scan-result":
            frames.append(await watcher.next())

        told = [f["processed"] for f in frames if f["type"] == "scan-progress"]
        assert told[-1] == 100
        assert len(told) < 60


async def test_the_next_scan_tells_what_changed():
    async with ops() as house:
        worker, watcher = await work(house), await watch(house)
        first = await scanned(
            house, worker, finding("/"), finding("/var"), finding("/home")
        )
        again = await scanned(
            house, worker, finding("/"), finding("/var", severity="critical")
        )
        kinds = []
        while kinds.count("scan-result") < 2:
            kinds.append((await watcher.next())["type"])
        issues = (await room_of(house)).issues()

    assert first["changes"]["new"] == first["issues_filed"] == 3
    assert {k: v for k, v in again["changes"].items() if v} == {
        "persisting": 1,
        "updated": 1,
        "resolved": 1,
    }
    assert kinds[-5:] == [
        "scan-result",
        "scan-start",
        *sorted(["finding-updated", "finding-resolved"], key=kinds[-5:].index),
        "scan-result",
    ]
    rows = {row["resource"]: row for row in issues}
    assert issues[0]["resource"] == "/var"
    assert (rows["/"]["state"], rows["/"]["count"]) == ("persisting", 2)
    assert rows["/home"]["state"] == "resolved"


async def test_what_was_not_looked_at_is_unknown_and_not_resolved():
    async with ops() as house:
        worker = await work(house)
        await scanned(house, worker, finding())
        result = await scanned(house, worker, looked=False)

        assert result["changes"]["unknown"] == 1
        assert (await room_of(house)).issues()[0]["state"] == "unknown"


async def test_several_workers_make_one_result():
    async with ops() as house:
        one, two = await work(house, "w1"), await work(house, "w2")
        watcher, room = await watch(house), await room_of(house)
        await room.run(room.scan, ANA, "full", "*")
        await one.send(report(await asked(one), finding(host="w1")))
        await two.send(
            report(await asked(two), finding(host="w2"), host="w2", processed_logs=5)
        )
        result = await watcher.until("scan-result")

        assert (result["on"], result["processed_logs"]) == (["w1", "w2"], 12)
        assert {row["worker"] for row in result["findings"]} == {"w1", "w2"}
        assert {row["worker"] for row in result["coverage"]} == {"w1", "w2"}


async def test_a_scan_of_one_worker_leaves_the_findings_of_others_alone():
    async with ops() as house:
        one, two = await work(house, "w1"), await work(house, "w2")
        await scanned(house, one, finding(), options={"on": "w1"})
        result = await scanned(house, two, host="w2", options={"on": ["w2"]})

        assert not any(result["changes"].values())
        assert (await room_of(house)).issues()[0]["state"] == "new"


async def test_a_scan_of_some_kinds_leaves_findings_of_others_alone():
    async with ops() as house:
        worker = await work(house)
        await scanned(house, worker, finding())
        logs = await scanned(house, worker, looked=False, options={"kinds": ["logs"]})
        disks = await scanned(house, worker, options={"kinds": ["disk"]})

        assert not any(logs["changes"].values())
        assert disks["changes"]["resolved"] == 1


async def test_a_worker_that_fails_is_told_and_the_others_count():
    async with ops() as house:
        one, two = await work(house, "w1"), await work(house, "w2")
        watcher, room = await watch(house), await room_of(house)
        scan_id = await room.run(room.scan, ANA)
        refusing = await one.until("scan")
        await one.send(
            {"type": "failed", "id": refusing["id"], "code": "busy", "message": "No."}
        )
        await two.send(report(await asked(two), finding(host="w2"), host="w2"))
        result = await watcher.until("scan-result")

        assert result["scan_id"] == scan_id
        lost = [row for row in result["coverage"] if row["worker"] == "w1"]
        assert (lost[0]["status"], lost[0]["reason"]) == ("failed", "busy")


async def ends_of(watcher: Peer, worker: Peer, scan: dict) -> list[dict]:
    """Every end a watcher is told of, up to an event that comes after all of it."""
    await worker.send(report(scan, finding()))
    await worker.send({"type": "event", "name": "after"})
    frames = []
    while not frames or frames[-1]["type"] != "event":
        frames.append(await watcher.next())
    return [f for f in frames if f["type"] in ENDS]


async def test_a_scan_that_fails_ends_once_whatever_comes_later():
    async with ops() as house:
        worker, watcher = await work(house), await watch(house)
        room = await room_of(house)
        scan_id = await room.run(room.scan, ANA)
        scan = await asked(worker)
        for _ in range(2):
            await worker.send(
                {
                    "type": "scan-failed",
                    "scan_id": scan_id,
                    "code": "crashed",
                    "message": "The scan crashed.",
                }
            )
        [end] = await ends_of(watcher, worker, scan)

        assert (end["type"], end["code"]) == ("scan-failed", "crashed")
        found = await room.run(room.scan_result, scan_id)
        assert (found["status"], found["message"]) == ("failed", "The scan crashed.")


async def test_a_worker_that_began_anew_has_lost_its_scan():
    async with ops() as house:
        old, watcher = await work(house), await watch(house)
        room = await room_of(house)
        await room.run(room.scan, ANA)
        scan = await asked(old)
        new = await work(house, generation=2)
        end = await watcher.until("scan-failed")

        assert end["code"] == "worker-gone"
        assert await ends_of(watcher, new, scan) == []


async def test_the_deadline_ends_a_scan_and_cancels_it(monkeypatch):
    monkeypatch.setattr(ops_scanning, "SCAN_SECONDS", 0.05)
    monkeypatch.setattr(ops_scanning, "GRACE_SECONDS", 0.05)
    async with ops() as house:
        worker, watcher = await work(house), await watch(house)
        room = await room_of(house)
        scan_id = await room.run(room.scan, ANA)
        scan = await asked(worker)
        cancel = await worker.until("cancel")
        await worker.send({"type": "done", "id": cancel["id"]})
        [end] = await ends_of(watcher, worker, scan)

        assert (end["code"], cancel["scan_id"]) == ("deadline", scan_id)


async def test_a_restart_ends_what_ran_as_interrupted(tmp_path: Path):
    path = tmp_path / "rooms.sqlite3"
    async with ops(SqliteRoomLog(path)) as house:
        worker = await work(house)
        room = await room_of(house)
        scan_id = await room.run(room.scan, ANA)
        await asked(worker)
    for _ in range(2):
        async with ops(SqliteRoomLog(path)) as house:
            room = await room_of(house)
            found = await room.run(room.scan_result, scan_id)
            head = room.log.head

        assert (found["status"], found["code"]) == ("failed", "interrupted")
        assert (head, found["offset"]) == (2, 2)


async def test_a_result_that_cannot_be_read_is_a_failure_not_a_crash():
    async with ops() as house:
        worker, watcher = await work(house), await watch(house)
        room = await room_of(house)
        await room.run(room.scan, ANA)
        bad = report(await asked(worker)) | {"findings": [{"rule": 5}]}
        await worker.send(bad)

        assert (await watcher.until("scan-failed"))["code"] == "bad-result"


async def test_numbers_out_of_all_proportion_end_a_scan_like_any_other():
    async with ops() as house:
        worker = await work(house)
        wild = msgspec.structs.replace(
            finding(measured=1e308), threshold=1e-308, unit="x"
        )
        results = [await scanned(house, worker, wild) for _ in range(2)]

        assert [result["status"] for result in results] == ["completed"] * 2
        assert (await room_of(house)).state()["running"] == {}


async def test_a_result_that_cannot_be_compared_fails_the_scan_once(monkeypatch):
    def fail(*_):
        raise OverflowError("a rule's mistake")

    monkeypatch.setattr(ops_scans, "diff", fail)
    async with ops() as house:
        worker, watcher = await work(house), await watch(house)
        room = await room_of(house)
        await room.run(room.scan, ANA)
        scan = await asked(worker)
        await worker.send(report(scan, finding()))
        [end] = await ends_of(watcher, worker, scan)

        assert (end["type"], end["code"]) == ("scan-failed", "bad-result")
        assert "mistake" not in end["message"]
        assert (room.state()["running"], room.issues()) == ({}, [])


def states_of(room: OpsRoom) -> dict[str, tuple[str, str]]:
    return {row["resource"]: (row["worker"], row["state"]) for row in room.issues()}


@pytest.mark.parametrize(
    "forge",
    [
        lambda f: f,
        lambda f: msgspec.structs.replace(
            f,
            host="w2",
            resource=msgspec.structs.replace(f.resource, host="w2"),
        ),
    ],
    ids=["as it was", "under its own host"],
)
async def test_a_worker_cannot_take_over_or_resolve_the_findings_of_another(forge):
    async with ops() as house:
        good, evil = await work(house, "w1"), await work(house, "w2")
        room = await room_of(house)
        await scanned(house, good, finding(), options={"on": "w1"})
        only = {"on": "w2"}
        forged = forge(finding(severity="low"))
        taken = await scanned(house, evil, forged, host="w2", options=only)
        after_forging = states_of(room)
        await scanned(house, evil, host="w1", options=only)

        assert not any(taken["changes"].values())
        assert after_forging == states_of(room) == {"/": ("w1", "new")}
        assert room.issues()[0]["severity"] == "high"


async def test_in_a_common_scan_a_worker_speaks_for_its_own_findings_only():
    async with ops() as house:
        good, evil = await work(house, "w1"), await work(house, "w2")
        room = await room_of(house)
        watcher = await watch(house)
        await scanned(house, good, finding(), options={"on": "w1"})
        await room.run(room.scan, ANA)
        await good.send(report(await asked(good), looked=False))
        everything = [
            {"detector": "DSK-001", "resource_scope": "*", "status": "scanned"}
        ]
        await evil.send(report(await asked(evil), coverage=everything))
        await watcher.until("scan-result")
        await watcher.until("scan-result")

        assert states_of(room) == {"/": ("w1", "unknown")}


async def test_a_finding_about_another_workers_host_is_not_taken(caplog):
    async with ops() as house:
        good, evil = await work(house, "w1"), await work(house, "w2")
        room = await room_of(house)
        own = finding("/own", host="w2")
        forged = [
            finding("/uid", host="w1"),
            msgspec.structs.replace(own, host="w1"),
            msgspec.structs.replace(
                own, resource=msgspec.structs.replace(own.resource, host="w1")
            ),
        ]
        only = {"on": "w2"}
        await scanned(house, evil, *forged, host="w2", options=only)
        assert states_of(room) == {}
        assert "3 findings that are not its own" in caplog.text
        await scanned(house, evil, own, host="w2", options=only)
        await scanned(house, good, finding("/uid"), options={"on": "w1"})

        assert states_of(room) == {"/uid": ("w1", "new"), "/own": ("w2", "new")}


async def test_a_finding_claimed_before_its_worker_was_known_goes_back_to_it():
    async with ops() as house:
        evil, room = await work(house, "w2"), await room_of(house)
        await scanned(house, evil, finding(), host="w2")
        assert states_of(room) == {"/": ("w2", "new")}
        good = await work(house, "w1")
        await scanned(house, good, finding(), options={"on": "w1"})
        assert states_of(room)["/"][0] == "w1"
        await scanned(house, evil, host="w2", options={"on": "w2"})

        assert states_of(room)["/"] == ("w1", "persisting")


async def test_a_scan_whose_end_was_not_stored_still_ends(monkeypatch):
    monkeypatch.setattr(ops_scanning, "LOST_SECONDS", 0.05)
    log = MemoryRoomLog()
    async with ops(log) as house:
        worker, watcher = await work(house), await watch(house)
        room = await room_of(house)
        scan_id = await room.run(room.scan, ANA)
        scan = await asked(worker)
        log.is_full = True
        failed = ScanFailed(scan_id=scan_id, code="crashed", message="No.")
        with pytest.raises(NotStoredError):
            await room.run(room.failed, "w1", failed)
        log.is_full = False
        end = await watcher.until("scan-failed")

        assert end["code"] == "interrupted"
        assert await ends_of(watcher, worker, scan) == []


async def test_a_scan_that_was_not_stored_asks_nobody():
    log = MemoryRoomLog()
    async with ops(log) as house:
        worker = await work(house)
        room = await room_of(house)
        log.is_full = True
        with pytest.raises(NotStoredError):
            await room.run(room.scan, ANA)
        log.is_full = False
        async with asyncio.timeout(5):
            scan_id = None
            while scan_id is None:
                with suppress(NotStoredError):
                    scan_id = await room.run(room.scan, ANA)

        assert (await asked(worker))["scan_id"] == scan_id


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"scope": "deep"}, "bad-request"),
        ({"on": ["nobody"]}, "not-found"),
        ({"on": "away"}, "no-worker"),
        ({"on": []}, "bad-request"),
        ({"identity": VIEWER}, "forbidden"),
    ],
)
async def test_a_scan_that_cannot_be_is_refused_and_leaves_no_trace(given, code):
    async with ops() as house:
        await work(house, "w1")
        await work(house, "w2")
        away = await work(house, "away")
        await away.socket.close()
        await until(lambda: "away" not in house.hub.directory.online())
        room = await room_of(house)
        with refused(code) as caught:
            await room.run(lambda: room.scan(**({"identity": ANA} | given)))

        assert room.log.head == 0
        if code == "not-found":
            assert "Workers here: away, w1, w2." in str(caught.value)


async def test_without_a_worker_the_answer_says_how_to_start_one():
    async with ops() as house:
        room = await room_of(house)
        with refused("no-worker") as caught:
            await room.run(room.scan, ANA)

        assert "vibehq worker" in str(caught.value)


async def test_filters_of_a_scan_choose_rows_and_touch_nothing_else():
    async with ops() as house:
        worker = await work(house)
        found = [finding("/"), finding("/var", severity="low")]
        only = {"severity": ["high"], "time_range": {"start": AT}}
        result = await scanned(house, worker, *found, options={"filters": only})
        again = await scanned(house, worker, *found, options={"filters": only})

        assert [row["resource"] for row in result["findings"]] == ["/"]
        assert result["issues_filed"] == 2
        assert again["changes"]["persisting"] == 2
        counts = {row["count"] for row in (await room_of(house)).issues()}
        assert counts == {2}
        room = await room_of(house)
        with pytest.raises(DecodeError):
            await room.run(lambda: room.scan(ANA, filters={"colour": "red"}))


async def test_the_worker_is_told_only_the_filters_it_needs():
    async with ops() as house:
        worker, room = await work(house), await room_of(house)
        only = {"severity": "high", "timeRange": {"start": AT}}
        await room.run(lambda: room.scan(ANA, filters=only))
        scan = msgspec.convert(await asked(worker), Scan)

        assert scan.filters == {"time_range": {"start": AT}}


async def test_a_subscriber_is_sent_what_passes_its_filters():
    async with ops() as house:
        worker = await work(house)
        everything, few = await watch(house), await watch(house)
        wanted = {"severity": "high", "types": ["finding-created", "event"]}
        await few.send({"type": "subscribe", "filters": wanted})
        assert await few.next() == {"type": "subscribed", "filters": wanted}
        await scanned(house, worker, finding("/"), finding("/var", severity="medium"))
        await worker.send({"type": "event", "name": "deploy", "data": {"v": 2}})
        seen = [await few.next(), await few.next()]
        await everything.until("event")

        assert [frame["type"] for frame in seen] == ["finding-created", "event"]
        assert seen[0]["finding"]["resource"] == "/"
        assert (seen[1]["name"], seen[1]["by"], seen[1]["data"]) == (
            "deploy",
            "w1",
            {"v": 2},
        )


async def test_a_subscriber_that_filters_still_gets_its_ticks():
    async with ops() as house:
        few = await watch(house)
        await few.send({"type": "subscribe", "filters": {"types": []}})
        await few.until("subscribed")
        room = await room_of(house)
        offset = await room.run(room.emit, ANA, "deploy", {})
        room.tick()

        assert await few.next() == {"type": "tick", "offset": offset}


@pytest.mark.parametrize(
    "filters",
    [{"colour": "red"}, {"severity": "loud"}, {"types": ["x"]}, {"kinds": "disk"}],
)
async def test_filters_there_are_not_are_a_bad_message(filters):
    async with ops() as house:
        peer = await watch(house)
        await peer.send({"type": "subscribe", "filters": filters})
        refusal = await peer.next()

        assert (refusal["type"], refusal["code"]) == ("error", "bad-message")
        assert "colour" not in json.dumps(refusal)


async def test_a_finding_is_resolved_by_hand_and_reopened_when_seen():
    async with ops() as house:
        worker, room = await work(house), await room_of(house)
        await scanned(house, worker, finding())
        [row] = room.issues()
        watcher = await watch(house)
        with refused("bad-request"):
            await room.run(room.resolve, ANA, row["id"], " ")
        with refused("forbidden"):
            await room.run(room.resolve, VIEWER, row["id"], "done")
        with refused("not-found"):
            await room.run(room.resolve, ANA, "v1:0", "done")
        resolved = await room.run(room.resolve, ANA, row["id"], "made room")
        told = await watcher.until("finding-resolved")
        with refused("conflict"):
            await room.run(room.resolve, ANA, row["id"], "again")
        open_then = room.issues(state="open")
        result = await scanned(house, worker, finding())

        assert told["finding"] == resolved
        assert (resolved["state"], resolved["note"]) == ("resolved", "ana: made room")
        assert open_then == []
        assert result["changes"]["reopened"] == 1


async def test_issues_are_the_worst_first_and_can_be_chosen():
    async with ops() as house:
        worker, room = await work(house), await room_of(house)
        levels = ["low", "critical", "medium", "high", "info"]
        await scanned(
            house, worker, *[finding(f"/{name}", severity=name) for name in levels]
        )

        found = [row["severity"] for row in room.issues()]
        assert found == ["critical", "high", "medium", "low", "info"]
        assert len(room.issues(severity="medium")) == 3
        assert len(room.issues(limit=2)) == 2
        assert len(room.issues(state="new")) == 5
        with pytest.raises(DecodeError):
            room.issues(severity="loud")


async def test_an_event_sent_twice_is_told_once():
    async with ops() as house:
        peer, watcher = await watch(house), await watch(house)
        event = {"type": "event", "name": "deploy", "data": {"v": 1}, "id": "m1"}
        await peer.send(event)
        first = await peer.until("accepted")
        await peer.send(event)
        second = await peer.until("accepted")
        await peer.send({"type": "event", "name": "last"})
        told = [await watcher.until("event") for _ in range(2)]

        assert first == second
        assert [event["name"] for event in told] == ["deploy", "last"]
        assert told[0]["by"] == "ana"


async def test_what_runs_is_listed_first_and_told_as_running():
    async with ops() as house:
        worker, room = await work(house), await room_of(house)
        await scanned(house, worker)
        scan_id = await room.run(room.scan, ANA)

        assert (await room.run(room.scan_result, scan_id))["status"] == "running"
        listed = [(scan["scan_id"] == scan_id) for scan in room.scans()]
        assert listed == [True, False]
        with refused("not-found"):
            await room.run(room.scan_result, "scan-0")


async def test_a_worker_whose_room_is_gone_fails_the_scan():
    async with running({"ops": OpsRoom}) as house:
        house.hub.directory.add_worker(
            WorkerInfo("w1", "host", "test", online=True, generation=1)
        )
        watcher, room = await watch(house), await room_of(house)
        await room.run(room.scan, ANA)

        assert (await watcher.until("scan-failed"))["code"] == "no-such-party"


async def test_an_event_that_is_too_big_is_refused():
    async with ops() as house:
        room = await room_of(house)
        with refused("bad-request"):
            await room.run(room.emit, ANA, "big", {"x": "y" * 50_000})


async def test_the_state_keeps_the_latest_scans_and_events(tmp_path: Path):
    path = tmp_path / "rooms.sqlite3"
    async with ops(SqliteRoomLog(path)) as house:
        worker, room = await work(house), await room_of(house)
        for number in range(22):
            await scanned(house, worker, finding(), finding(f"/{number % 3}"))
        for number in range(120):
            await room.run(room.emit, ANA, f"e{number}", {})
        state = room.state()

    async with ops(SqliteRoomLog(path)) as house:
        after = (await room_of(house)).state()

    assert len(state["scans"]) == 20
    assert not any("findings" in scan for scan in state["scans"])
    assert [event["name"] for event in state["events"]][:2] == ["e119", "e118"]
    assert len(state["events"]) == 100
    assert after == state


async def test_a_saved_state_and_the_entries_after_it_are_the_whole_state():
    log = MemoryRoomLog()
    async with ops(log) as house:
        worker, room = await work(house), await room_of(house)
        await scanned(house, worker, finding(), finding("/var"))
        for number in range(600):
            await room.run(room.emit, ANA, f"e{number}", {})
        await scanned(house, worker, finding(measured=99.0))
        before = room.state()
        opened = await log.open(RoomKey("ops", "main"))
        again = OpsRoom(RoomKey("ops", "main"), house.hub)
        await again.start({})

        assert 500 <= opened.saved_offset < opened.head
        assert again.state() == before


async def test_what_was_resolved_long_ago_is_forgotten():
    now = [1_790_000_000.0]
    async with ops(clock=lambda: now[0]) as house:
        worker, room = await work(house), await room_of(house)
        await scanned(house, worker, finding())
        await scanned(house, worker)
        assert [row["state"] for row in room.issues()] == ["resolved"]
        now[0] += timedelta(days=31).total_seconds()
        await scanned(house, worker)

        assert room.issues() == []
