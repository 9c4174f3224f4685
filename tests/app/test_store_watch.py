"""Every store of a collector has a row; one that hangs delays no other, and the reason of a failure is said."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent

from pumpwatch.app.collector import Collector
from pumpwatch.app.store_watch import StoreWatch
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.sink_abilities import ServerFacts
from pumpwatch.store.sink_calls import SinkCalls
from pumpwatch.store.sink_threads import off_hub


class Server:
    """A sink's server that hangs until `gate` is open, or is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.gate, self.away = threading.Event(), away

    def open(self) -> None:
        if self.away:
            raise ServiceUnavailable("the server does not answer")

    def server(self) -> str:
        return "Server 1"

    def facts(self) -> ServerFacts:
        assert self.gate.wait(10)
        self.open()
        return ServerFacts("Server 1", 10, 2, 3.5, 0.99, 4, 1)


def give(collector: Collector, name: str, server: Server, state: str) -> None:
    calls = SinkCalls()
    collector.sinks[name] = off_hub(server, calls)  # type: ignore[arg-type]
    collector.sink_calls[name] = calls
    collector.drains[name] = SimpleNamespace(state=state)  # type: ignore[assignment]


def rows(watch: StoreWatch) -> dict[str, dict[str, Any]]:
    return {row["store"]: row for row in watch.rows()}


def until(watch: StoreWatch, name: str, key: str, value: object) -> None:
    with gevent.Timeout(20):
        while rows(watch)[name][key] != value:
            gevent.sleep(0.005)


def test_a_store_that_hangs_delays_no_other_and_is_asked_once(collector: Collector) -> None:
    hung, well = Server(), Server()
    give(collector, "hung", hung, "up")
    give(collector, "well", well, "refilling 10 trades")
    well.gate.set()
    watch = StoreWatch(collector)
    for _ in range(3):
        watch.look()
    until(watch, "well", "size_bytes", 10)
    found = rows(watch)
    assert (found["well"]["state"], found["well"]["connections"], found["well"]["busy"]) == ("refilling 10 trades", 4, 1)
    assert (found["hung"]["state"], found["hung"]["works"], found["hung"]["size_bytes"]) == ("up", True, None)
    assert [row["total"] + row["running"] for row in collector.sink_calls["hung"].rows()] == [1]
    assert found["journal"]["works"]
    hung.gate.set()
    until(watch, "hung", "version", "Server 1")


def test_a_sink_that_is_down_says_why_and_how_often_it_was_tried(collector: Collector) -> None:
    server = Server(away=True)
    server.gate.set()
    give(collector, "server", server, "down")
    watch = StoreWatch(collector)
    for _ in range(2):
        try:
            collector.sinks["server"].open()
        except ServiceUnavailable:
            continue
    row = rows(watch)["server"]
    assert (row["state"], row["works"], row["failed_in_a_row"]) == ("down: the server does not answer", False, 2)
    server.away = False
    collector.sinks["server"].open()
    collector.drains["server"].state = "up"  # type: ignore[misc]
    watch.look()
    until(watch, "server", "state", "up")
    assert rows(watch)["server"]["failed_in_a_row"] == 0


def test_a_server_that_takes_trades_and_answers_no_question_does_not_count_as_well(collector: Collector, tmp_path: Path) -> None:
    server = Server(away=True)
    server.gate.set()
    give(collector, "server", server, "up")
    watch = StoreWatch(collector)
    watch.look()
    until(watch, "server", "works", False)
    assert rows(watch)["server"]["state"] == "down: the server does not answer"
