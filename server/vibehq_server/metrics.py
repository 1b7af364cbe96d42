"""``/metrics``: the server's figures for Prometheus; asks for a credential."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from vibehq_nb.core.roles import Role
from vibehq_server.counters import Traffic
from vibehq_server.handlers import VibeHandler
from vibehq_server.refusals import Refusal

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

_TRAFFIC = {
    "received_frames": ("vibehq_received_messages", "Messages that came in."),
    "received_bytes": ("vibehq_received_bytes", "Bytes of the messages that came in."),
    "sent_frames": ("vibehq_sent_messages", "Messages handed to an outbox."),
    "sent_bytes": ("vibehq_sent_bytes", "Bytes of the frames handed to an outbox."),
}


@dataclass(slots=True)
class _Now:
    """What the open connections of one party add up to."""

    connections: int
    pending: int
    most_pending: int
    traffic: Traffic


class HubCollector(Collector):
    """Reads a hub's figures when they are asked for."""

    def __init__(self, hub: "Hub") -> None:
        """Read from *hub*."""
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        """Yield every figure, each party always there."""
        parties = sorted(self._hub.parties)
        now = {party: self._look(party) for party in parties}
        yield from self._rooms(parties, now)
        yield from self._outboxes(now)
        yield from self._traffic(now)
        yield from self._sockets()
        yield from self._lag()

    def _look(self, party: str) -> _Now:
        total = self._hub.counters.gone(party)
        pending = [0]
        connections = 0
        for connection in self._hub.directory.connections(party):
            connections += 1
            total.add(connection.traffic())
            pending.append(connection.outbox.pending)
        return _Now(connections, sum(pending), max(pending), total)

    def _rooms(
        self, parties: list[str], now: Mapping[str, _Now]
    ) -> Iterator[GaugeMetricFamily]:
        rooms = Counter(room.key.party for room in self._hub.live())
        yield _gauges("vibehq_rooms", "Live rooms.", {p: rooms[p] for p in parties})
        yield _gauges(
            "vibehq_connections",
            "Open connections.",
            {party: found.connections for party, found in now.items()},
        )
        directory = self._hub.directory
        yield GaugeMetricFamily(
            "vibehq_workers_online", "Connected workers.", len(directory.online())
        )
        yield GaugeMetricFamily(
            "vibehq_terminals", "Known terminals.", len(directory.terminals)
        )

    def _outboxes(self, now: Mapping[str, _Now]) -> Iterator[GaugeMetricFamily]:
        yield _gauges(
            "vibehq_outbox_pending_bytes",
            "Bytes queued for all connections.",
            {party: found.pending for party, found in now.items()},
        )
        yield _gauges(
            "vibehq_outbox_pending_max_bytes",
            "Bytes queued for the connection that owes most.",
            {party: found.most_pending for party, found in now.items()},
        )

    def _traffic(self, now: Mapping[str, _Now]) -> Iterator[CounterMetricFamily]:
        for field, (name, text) in _TRAFFIC.items():
            family = CounterMetricFamily(name, text, labels=["party"])
            for party, found in now.items():
                family.add_metric([party], getattr(found.traffic, field))
            yield family

    def _sockets(self) -> Iterator[CounterMetricFamily]:
        counters = self._hub.counters
        yield _counts(
            "vibehq_sockets_opened", "Sockets opened.", ["party"], counters.opened
        )
        yield _counts(
            "vibehq_sockets_closed",
            "Sockets closed, by close code; 1006 is a lost one.",
            ["party", "code"],
            counters.closed,
        )
        yield _counts(
            "vibehq_slow_consumers",
            "Connections closed because their outbox was full.",
            ["party"],
            counters.slow,
        )
        yield _counts(
            "vibehq_handshakes_refused",
            "WebSocket handshakes refused, by reason.",
            ["reason"],
            counters.refused,
        )
        yield _counts(
            "vibehq_resumes",
            "Answers to connections that came: fresh, resumed, snapshot, reset, "
            "waiting.",
            ["party", "answer"],
            counters.resumes,
        )

    def _lag(self) -> Iterator[Metric]:
        lag = self._hub.lag
        yield HistogramMetricFamily(
            "vibehq_loop_lag_seconds",
            "How late the event loop was, sampled four times a second.",
            buckets=lag.buckets(),
            sum_value=lag.total,
        )
        yield GaugeMetricFamily(
            "vibehq_loop_lag_last_seconds", "The last sample.", lag.last
        )
        yield GaugeMetricFamily(
            "vibehq_loop_lag_max_seconds",
            "The largest sample of the last minute.",
            lag.worst,
        )


def _gauges(name: str, text: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["party"])
    for party, value in values.items():
        family.add_metric([party], value)
    return family


def _counts(
    name: str, text: str, labels: list[str], values: Mapping[Any, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for which, value in sorted(values.items()):
        family.add_metric([which] if isinstance(which, str) else list(which), value)
    return family


def make_registry(hub: "Hub") -> CollectorRegistry:
    """Return everything one server exports."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HubCollector(hub))
    registry.register(hub.append_seconds)
    ProcessCollector(registry=registry)
    return registry


class MetricsHandler(VibeHandler):
    """``GET /metrics``."""

    def get(self) -> None:
        """Answer in Prometheus's text format."""
        if self.identity.roles.isdisjoint({Role.VIEWER, Role.ADMIN}):
            raise Refusal(403, "forbidden", "This needs the role viewer or admin.")
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(make_registry(self.context.hub)))
