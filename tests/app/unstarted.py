"""A collector in the test's own process that is not started, and a sink that keeps what it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pumpwatch.app.collector import Collector
from pumpwatch.config import Config, PluginsConfig, StoreConfig
from pumpwatch.config_listing import ListingConfig
from pumpwatch.hookspecs import ListingEvent, Sink
from pumpwatch.model import Listing


class KeptRows(Sink):
    """A sink that keeps health rows and listings."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.events: list[ListingEvent] = []

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = list(rows)

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        self.events.append(event)


def unstarted(folder: Path) -> Collector:
    """Return a collector with its data and archives in `folder`, and the sink `odd`, which rejects health rows and listings."""
    return Collector(Config(
        store=StoreConfig(dir=str(folder)), listing=ListingConfig(archive_dir=str(folder)),
        plugins=PluginsConfig(folder=str(Path(__file__).parent / "sinks")), sinks={"odd": {"way": "misfit"}}))
