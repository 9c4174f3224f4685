"""The page's events come from the collector's own figures, and a ledger that hangs stops none of the others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.app.page_events import PageEvents
from pumpwatch.config import Config, StoreConfig
from pumpwatch.errors import StorageError


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(Config(store=StoreConfig(dir=str(tmp_path)), symbols_file=""))


def first_events(events: PageEvents) -> dict[str, Any]:
    """Return the first value of each topic that does not wait."""
    watch = events.broadcast.watch()
    sent = next(watch)
    events.broadcast._publish(waits=False)
    blocks = (sent + next(watch)).decode().split("\n\n")
    watch.close()
    found = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    return {lines["event"]: msgspec.json.decode(lines["data"]) for lines in found if "event" in lines}


def test_a_page_gets_the_collectors_figures_jobs_and_coins(collector: Collector) -> None:
    events = PageEvents(collector, collector.status, collector.jobs)
    before = first_events(events)
    assert before["figures"] == {} and before["history"]["venues"] == {"": []}
    collector.status.last = collector.status.now()
    now = first_events(events)
    assert now["figures"]["version"] and now["figures"]["journal"]["durable"] == 0
    assert now["figures"]["memory"]["limit_bytes"] > 0 and len(now["figures"]["disk"]["limits"]) == 3
    assert {"history", "figures", "boards", "jobs", "log", "coins"} == set(now)


def test_warnings_are_kept_from_before_the_page_is_there_until_its_end(collector: Collector) -> None:
    events = PageEvents(collector, collector.status, collector.jobs)
    events.keep_warnings()
    try:
        logging.getLogger("pumpwatch.app").warning("early")
        assert [row["text"] for row in first_events(events)["log"]] == ["early"]
    finally:
        events.stop()
    logging.getLogger("pumpwatch.app").warning("late")
    assert [row["text"] for row in events._warnings.rows()] == ["early"] and events.broadcast.stopped


def test_listings_are_those_of_the_ledger(collector: Collector) -> None:
    events = PageEvents(collector, collector.status, collector.jobs)
    with pytest.raises(StorageError):
        events._listings()
    collector.threaded_journal.open()
    try:
        assert events._listings() == []
    finally:
        collector.threaded_journal.close()
