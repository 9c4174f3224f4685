"""A collector has every part that its jobs, listings and status use."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.app.collector import Collector
from pumpwatch.app.parts import CollectorParts
from pumpwatch.config import Config, StoreConfig


def test_a_collector_has_every_part_before_it_is_started(tmp_path: Path) -> None:
    collector = Collector(Config(store=StoreConfig(dir=str(tmp_path))))
    assert [name for name in CollectorParts.__annotations__ if not hasattr(collector, name)] == []
    assert collector.listing_status() == {}
