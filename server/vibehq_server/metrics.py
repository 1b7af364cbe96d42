"""``/metrics``: the server's figures for Prometheus; asks for a credential."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from vibehq_nb.core.roles import Role
from vibehq_server.handlers import VibeHandler
from vibehq_server.refusals import Refusal

if TYPE_CHECKING:
    from vibehq_server.hub import Hub


class HubCollector(Collector):
    """Reads a hub's figures when they are asked for."""

    def __init__(self, hub: "Hub") -> None:
        """Read from *hub*."""
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        """Yield rooms and connections by party, workers and terminals."""
        rooms: Counter[str] = Counter()
        connections: Counter[str] = Counter()
        for room in self._hub.live():
            rooms[room.key.party] += 1
            connections[room.key.party] += len(room.connections)
        for name, counts, text in (
            ("vibehq_rooms", rooms, "Live rooms."),
            ("vibehq_connections", connections, "Open connections."),
        ):
            family = GaugeMetricFamily(name, text, labels=["party"])
            for party in sorted(self._hub.parties):
                family.add_metric([party], counts[party])
            yield family
        directory = self._hub.directory
        yield GaugeMetricFamily(
            "vibehq_workers_online", "Connected workers.", len(directory.online())
        )
        yield GaugeMetricFamily(
            "vibehq_terminals", "Known terminals.", len(directory.terminals)
        )


class MetricsHandler(VibeHandler):
    """``GET /metrics``."""

    def get(self) -> None:
        """Answer in Prometheus's text format."""
        if self.identity.roles.isdisjoint({Role.VIEWER, Role.ADMIN}):
            raise Refusal(403, "forbidden", "This needs the role viewer or admin.")
        registry = CollectorRegistry(auto_describe=False)
        registry.register(HubCollector(self.context.hub))
        ProcessCollector(registry=registry)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(registry))
