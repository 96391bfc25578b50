"""Numbers for a monitor: what a process counts itself, and what the database knows at the moment it is asked.

Counters live where the work is done. A number of the database (jobs given up, gaps that stand) is read when the monitor
asks, by every process alike: take the largest, not the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cloud.kit.db import begin
from cloud.kit.presence import NotThere

Read = Callable[[Session], Mapping[str, float]]
_log = structlog.get_logger(__name__)


class FromDatabase(Collector):
    """One gauge with one label, read in a unit of work of its own. A database that is away leaves it out."""

    def __init__(self, name: str, documentation: str, label: str, read: Read) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._read = read

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Asked at registration, when there may be no database yet."""
        return [GaugeMetricFamily(self._name, self._documentation, labels=[self._label])]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            with begin() as session:
                found = self._read(session)
        except SQLAlchemyError as error:
            _log.warning("number not read", metric=self._name, reason=type(error).__name__)
            return
        family = GaugeMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, number in found.items():
            family.add_metric([value], float(number))
        yield family


def from_database(
    name: str, documentation: str, label: str, read: Read, registry: CollectorRegistry = REGISTRY
) -> None:
    """Register a number that stands in the database (at import of the slice that knows it)."""
    registry.register(FromDatabase(name, documentation, label, read))


def serve(host: str, port: int) -> None:
    """Answer a monitor on a port of this process. Raises `NotThere` when the port cannot be had."""
    try:
        start_http_server(port, addr=host)
    except OSError as error:
        raise NotThere(
            f"The port {host}:{port} for metrics cannot be had ({error.strerror or error}). Choose another with"
            " --metrics-port."
        ) from error
