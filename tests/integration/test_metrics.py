"""``/metrics`` counts what happens, and the dashboard and the page about it agree."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from tests.integration.app_server import UPGRADE, App, serving
from tests.integration.house import running
from vibehq_nb.core.ids import RoomKey
from vibehq_server.counters import MAX_REASONS, OTHER, Counters, Traffic
from vibehq_server.loop_lag import BOUNDS, LoopLag
from vibehq_server.metrics import make_registry
from vibehq_server.room import Room
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.rooms.ops import OpsRoom

DOCS = Path(__file__).parents[2] / "docs"
TYPES = r"\b((?:vibehq|process)_[a-z_]+)"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data") as running:
        yield running


async def read(app: App) -> dict[tuple[str, ...], float]:
    """Every sample: its name and labels, sorted → its value."""
    answer = await app.send("GET", "/metrics", app.admin)
    assert answer.status == 200
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def until(app: App, holds: Any) -> dict[tuple[str, ...], float]:
    """Read until *holds*; a socket's end reaches the server a moment later."""
    async with asyncio.timeout(5):
        while not holds(found := await read(app)):
            await asyncio.sleep(0.01)
    return found


def enter(app: App, room: str, **query: str) -> Any:
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    url = f"ws://127.0.0.1:{app.port}/parties/{room}?{pairs}"
    return connect(url, additional_headers=app.admin, compression=None)


async def test_sockets_messages_and_bytes_are_counted_by_party(app: App) -> None:
    text = json.dumps({"type": "resize", "cols": 80, "rows": 24, "ü": "ü"})
    async with enter(app, "terminal/web-1") as socket:
        told = await socket.recv()
        await socket.send(text)
        await socket.send(b"keys")
        open_now = await until(
            app,
            lambda m: m["vibehq_received_messages_total", "party=terminal"] == 2,
        )
    closed = await until(app, lambda m: m["vibehq_connections", "party=terminal"] == 0)

    assert open_now["vibehq_connections", "party=terminal"] == 1
    assert open_now["vibehq_sockets_opened_total", "party=terminal"] == 1
    sent = len(text.encode()) + len(b"keys")
    for found in (open_now, closed):
        assert found["vibehq_received_bytes_total", "party=terminal"] == sent
        assert found["vibehq_sent_bytes_total", "party=terminal"] > len(told)
        assert found["vibehq_sent_messages_total", "party=terminal"] >= 1
    assert closed["vibehq_sockets_closed_total", "code=1000", "party=terminal"] == 1
    assert closed["vibehq_sent_bytes_total", "party=lobby"] == 0


async def test_every_answer_to_a_connection_is_counted(app: App) -> None:
    async with enter(app, "terminal/web-1"):
        found = await until(
            app,
            lambda m: ("vibehq_resumes_total", "answer=waiting", "party=terminal") in m,
        )
    async with enter(app, "grants/main") as socket:
        epoch = json.loads(await socket.recv())["epoch"]
    for query in ({"epoch": epoch, "offset": "0"}, {"epoch": "x", "offset": "7"}):
        async with enter(app, "grants/main", **query) as socket:
            await socket.recv()
    found = await read(app)
    for answer in ("fresh", "resumed", "reset"):
        assert found["vibehq_resumes_total", f"answer={answer}", "party=grants"] == 1


async def test_refused_handshakes_are_counted_by_reason_and_told(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await app.send("GET", "/parties/lobby/main", UPGRADE)
        evil = UPGRADE | app.admin | {"Origin": "http://evil.example"}
        await app.send("GET", "/parties/lobby/main?secret=1", evil)
        await app.send("GET", "/parties/nope/main", UPGRADE | app.admin)
        await app.send("GET", "/parties/lobby/main", {})
    found = await read(app)
    for reason in ("unauthenticated", "origin", "no-such-party"):
        assert found["vibehq_handshakes_refused_total", f"reason={reason}"] == 1
    told = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert "/parties/lobby/main: handshake refused, origin" in told
    assert "secret" not in caplog.text


async def test_a_slow_consumer_is_counted_when_it_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Flood(Room):
        async def on_message(self, connection: Any, message: Any) -> None:
            connection.close(4408, "slow consumer")

    with caplog.at_level(logging.INFO):
        async with running({"ops": Flood}) as house:
            peer = await house.connect("ops/x", _pk="tab-1")
            await peer.send("go")
            assert await peer.close_code() == 4408
            async with asyncio.timeout(5):
                while not house.hub.counters.closed:
                    await asyncio.sleep(0.01)
            counters = house.hub.counters
    assert counters.slow == {"ops": 1}
    assert counters.closed == {("ops", "4408"): 1}
    assert "ops/x: ana/tab-1 closed with 4408, slow consumer" in caplog.text


async def test_a_snapshot_or_a_reset_is_told_with_room_and_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = MemoryRoomLog()
    with caplog.at_level(logging.INFO):
        async with running({"ops": OpsRoom}, log) as house:
            first = await house.connect("ops/main")
            epoch = (await first.next())["epoch"]
            await first.send({"type": "event", "name": "deploy", "id": "1"})
            await first.until("accepted")
            await house.hub.stop()
        key = RoomKey("ops", "main")
        log.reopen()
        await log.save(key, 2, b"{}")
        await log.trim(key, 2)
        async with running({"ops": OpsRoom}, log) as house:
            late = {"epoch": epoch, "offset": 1, "_pk": "tab"}
            back = await house.connect("ops/main", **late)
            assert (await back.next())["resume"] == "snapshot"
            other = await house.connect("ops/main", epoch="x", offset=1, _pk="tab2")
            assert (await other.next())["resume"] == "reset"
    assert "ops/main: ana/tab answered snapshot, trimmed" in caplog.text
    assert "ops/main: ana/tab has a gap (1, 2], trimmed" in caplog.text
    assert "ops/main: ana/tab2 answered reset, epoch" in caplog.text


async def test_what_waits_in_outboxes_is_summed_and_its_largest_told() -> None:
    class Idle(Room):
        pass

    async with running({"ops": Idle}) as house:
        for name in ("a", "b"):
            await house.connect("ops/x", _pk=name)
        async with asyncio.timeout(5):
            while len(house.hub.connections()) < 2:
                await asyncio.sleep(0.01)
        for connection, owed in zip(house.hub.connections(), (100, 300), strict=True):
            connection.outbox.pending = owed
        registry = make_registry(house.hub)
        values = {"party": "ops"}
        total = registry.get_sample_value("vibehq_outbox_pending_bytes", values)
        most = registry.get_sample_value("vibehq_outbox_pending_max_bytes", values)
    assert (total, most) == (400, 300)


async def test_the_event_loops_lag_is_sampled_while_the_server_runs(app: App) -> None:
    lag = app.server.context.hub.lag
    async with asyncio.timeout(5):
        while not lag.total:
            await asyncio.sleep(0.05)
    found = await read(app)
    assert found[("vibehq_loop_lag_seconds_count",)] >= 1
    assert found[("vibehq_loop_lag_max_seconds",)] > 0


def test_a_stalled_loop_is_in_the_histogram_and_the_worst_of_a_minute() -> None:
    lag = LoopLag()
    for seconds in (0.0005, 0.3, 0.001):
        lag.note(seconds)
    assert (lag.last, lag.worst) == (0.001, 0.3)
    buckets = dict(lag.buckets())
    assert (buckets["0.001"], buckets["0.25"], buckets["0.5"]) == (2, 2, 3)
    assert list(buckets) == [*map(str, BOUNDS), "+Inf"]
    for _ in range(240):
        lag.note(0.0)
    assert lag.worst == 0.0
    assert buckets["+Inf"] + 240 == dict(lag.buckets())["+Inf"]


def test_labels_a_peer_or_a_users_room_chooses_are_bounded() -> None:
    counters = Counters()
    for number in range(1000):
        counters.note_refused(f"made-up-{number}")
        counters.note_closed(RoomKey("x", "y"), 3000 + number, Traffic())
    assert len(counters.refused) == MAX_REASONS + 1
    assert sum(counters.refused.values()) == 1000
    assert counters.closed == {("x", OTHER): 1000}


async def test_each_stored_entry_is_counted_with_how_long_it_took() -> None:
    async with running({"ops": OpsRoom}) as house:
        peer = await house.connect("ops/main")
        for number in range(3):
            await peer.send({"type": "event", "name": "deploy", "id": f"{number}"})
            await peer.until("accepted")
        registry = make_registry(house.hub)
    # Each is an event, and what was answered to its sender.
    assert registry.get_sample_value("vibehq_append_seconds_count") == 6


async def test_a_grant_that_reaches_no_room_is_enough_to_scrape(app: App) -> None:
    scraper = await app.grant("prometheus", "viewer", rooms=["none/none"])
    worker = await app.grant("web-1", "worker")
    for grant, status in ((scraper, 200), (worker, 403)):
        headers = {"Authorization": f"Bearer {grant['token']}"}
        assert (await app.send("GET", "/metrics", headers)).status == status
    assert (await app.send("GET", "/metrics")).status == 401


async def exported(app: App) -> dict[str, tuple[str, str]]:
    """Every exported metric as Prometheus names it → its type and help."""
    async with enter(app, "terminal/web-1") as socket:
        await socket.recv()
        await app.send("GET", "/parties/lobby/main", UPGRADE)
    await until(app, lambda m: m["vibehq_connections", "party=terminal"] == 0)
    answer = await app.send("GET", "/metrics", app.admin)
    found = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        ending = "_total" if family.type == "counter" else ""
        found[family.name + ending] = (family.type, family.documentation)
    return found


async def test_the_page_about_metrics_lists_what_is_exported_and_nothing_else(
    app: App,
) -> None:
    row = re.compile(r"\| `([a-z_]+)` \| (\w+) \| [^|]* \| (.*) \|")
    page = (DOCS / "metrics.md").read_text()
    listed = {m[1]: (m[2], m[3]) for m in row.finditer(page)}
    assert listed == await exported(app)


async def test_the_dashboard_shows_every_metric_and_none_that_is_not_there(
    app: App,
) -> None:
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    queried = {
        re.sub("_(bucket|sum|count)$", "", name)
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(TYPES, target["expr"])
    }
    assert queried == set(await exported(app))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(
        dashboard["panels"]
    )
