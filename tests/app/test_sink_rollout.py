"""A sink is rolled out: its share grows, it is compared and taken back, and in the end it has everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.app.collector import Collector
from pumpwatch.app.sink_rollout import SinkRollout
from pumpwatch.catalogue import Catalogue
from pumpwatch.cli import run
from pumpwatch.config import Config, PluginsConfig, StoreConfig
from pumpwatch.config_listing import ListingConfig
from pumpwatch.config_rollout import RolloutConfig
from pumpwatch.hookspecs import Sink
from pumpwatch.model import Instrument
from pumpwatch.rollout.request import RolloutRequest, drop_request
from pumpwatch.rollout.state import FILE, RolloutState, read_state, write_state
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.reader import JournalReader
from pumpwatch.store.share import bucket_of
from tests.app.collector import CollectorProcess
from tests.app.unstarted import unstarted
from tests.questdb_server import QuestDBServer

VENUES = ["binance.spot", "binance.futures"]
QUICK = {"sink": "questdb", "phases": [{"percent": percent, "duration_h": 1.0} for percent in (30, 60, 100)], "compare_s": 0.5,
         "window_s": 10.0, "instruments": 50, "look_s": 0.5, "judged_s": 6.0, "least_queries": 2, "max_error_percent": 60.0,
         "max_answer_ms": 60_000.0, "max_disk_percent": 100.0}  # however busy this machine is
PREFIX = "rolled_"
S = 10**9


def asked(collector: CollectorProcess, *words: str) -> None:
    assert run(["rollout", *words, "-c", str(collector.config_file)]) == 0


def wait(collector: CollectorProcess, **wanted: Any) -> dict[str, Any]:
    figures = collector.wait_until(lambda figures: all(figures["rollout"][key] == value for key, value in wanted.items()))
    return dict(figures["rollout"])


def compared(collector: CollectorProcess, percent: int) -> int:
    """Wait until trades were compared in the phase of this share; return the number of differences."""
    figures = collector.wait_until(lambda figures: figures["rollout"]["percent"] == percent and figures["rollout"]["trades"] > 0)
    return sum(figures["rollout"]["differences"].values())


def buckets(server: QuestDBServer) -> set[int]:
    return {bucket_of((exchange, market_type, symbol)) for exchange, market_type, symbol in server.sql(
        f"SELECT DISTINCT exchange, market_type, symbol FROM {PREFIX}trades WHERE symbol != 'GONE'")}


def harm(server: QuestDBServer) -> None:
    """Change one of the newest rows, and take another one away from its instrument."""
    first, second = server.sql(f"SELECT trade_id, symbol, exchange, market_type FROM {PREFIX}trades LIMIT -2")
    for change, row in (("price = price + 1", first), ("symbol = 'GONE'", second)):
        number, symbol, exchange, market_type = row
        server.sql(f"UPDATE {PREFIX}trades SET {change} WHERE trade_id = '{number}' AND symbol = '{symbol}'"
                   f" AND exchange = '{exchange}' AND market_type = '{market_type}'")


def test_a_sink_is_rolled_out_compared_and_taken_back_and_has_everything_in_the_end(
        tmp_path: Path, questdb_server: QuestDBServer, capsys: pytest.CaptureFixture[str]) -> None:
    sink = {"addr": questdb_server.addr, "request_timeout_ms": 2500, "table_prefix": PREFIX, "candles": False}
    with SimProcess(venues=VENUES, symbols=6, rate=200.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, sinks={"questdb": sink}, rollout=QUICK) as collector:
        collector.wait_until_up()
        sim.resume()
        figures = collector.wait_until(lambda figures: figures["sinks"][0]["backlog_trades"] > 200)
        assert figures["sinks"][0]["state"] == "off" and figures["rollout"]["status"] == "waiting"
        asked(collector, "start", "--reason", "a test")
        assert "questdb: running, 30 % of the instruments" in capsys.readouterr().out
        assert compared(collector, 30) == 0
        assert 0 <= max(buckets(questdb_server)) < 30
        asked(collector, "advance")
        assert compared(collector, 60) == 0
        assert 30 <= max(buckets(questdb_server)) < 60
        harm(questdb_server)
        found = collector.wait_until(lambda figures: figures["rollout"]["differences"]["other values"]
                                     and figures["rollout"]["differences"]["missing in the sink"])
        assert found["rollout"]["percent"] == 60 and ", such as " in found["rollout"]["last_difference"]
        collector.wait_for_log("sink differs from memory and journal")
        questdb_server.hang()
        try:
            wait(collector, status="rolled back")
        finally:
            questdb_server.unhang()
        collector.kill()
        left = read_state(collector.data)
        assert left is not None and left.percent < 60 and "queries failed, the limit is 60 %" in left.reason
        collector.start()
        assert wait(collector, status="rolled back", percent=left.percent)["reason"] == left.reason
        asked(collector, "start")
        compared(collector, 30)
        for _ in range(3):
            asked(collector, "advance")
        collector.wait_until_up()
        settle_and_stop(sim, collector)
        truth = sim.truth()
    reports = [json.loads(path.read_text()) for path in sorted((collector.data / "reports").glob("rollout_questdb_*.json"))]
    assert {30, 60, 100} == {report["percent"] for report in reports}
    assert any(report["differences"]["other values"] and report["queries"] and report["p99_ms"] for report in reports)
    catalogue = Catalogue()
    reader = JournalReader(collector.data, catalogue)
    reader.load_instruments()
    stored = reader.query(names_of(truth), 0, 2**62)
    questdb_server.await_count(len(stored), f"{PREFIX}trades", 30.0)
    whole: Sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=PREFIX))
    there = whole.read(names_of(truth), 0, 2**62, catalogue)
    assert len(there) == len(stored) > 1000
    counted, expected = compare(truth, there, catalogue), compare(truth, stored, catalogue)
    assert (counted.stored, counted.doubled, counted.different) == (expected.stored, 0, 0)


def settle_and_stop(sim: SimProcess, collector: CollectorProcess) -> None:
    sim.pause()
    collector.wait_until_idle()
    figures = collector.wait_until(lambda figures: figures["sinks"][0]["backlog_trades"] == 0)
    assert (figures["rollout"]["status"], figures["rollout"]["percent"]) == ("done", 100)
    assert collector.stop() == 0


class FakeDrain:
    """Notes the shares that it is given."""

    def __init__(self) -> None:
        self.shares: list[int] = []

    def set_share(self, percent: int) -> None:
        self.shares.append(percent)


class Told:
    """A notifier that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def notify(self, make: Callable[[], Any]) -> None:
        self.events.append(make())


def rolled(folder: Path, **options: Any) -> tuple[SinkRollout, FakeDrain, Told]:
    """Return the roll-out of a collector that is not started, with its drain and what it tells."""
    collector = Collector(Config(
        store=StoreConfig(dir=str(folder)), listing=ListingConfig(archive_dir=str(folder)), sinks={"odd": {"way": "misfit"}},
        plugins=PluginsConfig(folder=str(Path(__file__).parent / "sinks")), rollout=RolloutConfig(sink="odd", **options)))
    drain, told = FakeDrain(), Told()
    collector.drains["odd"] = drain  # type: ignore[assignment]
    collector.notifying.notifier = told  # type: ignore[assignment]
    collector.rollout.load()
    return collector.rollout, drain, told


def kept(folder: Path) -> RolloutState:
    state = read_state(folder)
    assert state is not None
    return state


def test_a_request_is_done_answered_and_kept(tmp_path: Path) -> None:
    one, drain, _ = rolled(tmp_path)
    assert one.share_of("odd") == 0 and one.share_of("other") == 100
    good, bad = (drop_request(tmp_path, RolloutRequest(action, "why not")) for action in ("start", "start"))
    one.tick()
    assert drain.shares == [10]
    state = kept(tmp_path)
    assert (state.status, state.percent, state.reason) == ("running", 10, "asked for: why not")
    assert state.answered[good] == "" and "already running" in state.answered[bad]
    again, _, _ = rolled(tmp_path)
    assert again.share_of("odd") == 10 and again.status()["status"] == "running"


def test_a_full_disk_takes_the_sink_back_once_and_a_new_start_ends_the_alert(tmp_path: Path) -> None:
    one, drain, told = rolled(tmp_path, max_disk_percent=0.000001)
    one.act("start")
    one.look()
    one.look()
    assert drain.shares == [10, 0] and kept(tmp_path).status == "rolled back"
    (event,) = told.events
    assert event.state == "began" and event.summary == "odd was taken back from 10 to 0 % of the instruments"
    assert "% full" in event.description and event.kind == "alert"
    assert len(list((tmp_path / "reports").glob("rollout_odd_10_*.json"))) == 1
    one.act("start")
    assert [event.state for event in told.events] == ["began", "ended"] and told.events[1].began_at_ns == event.began_at_ns


def test_a_damaged_state_is_set_aside_and_the_sink_gets_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text('{"sink": "odd", "status": "running", "percent": 5000}')
    one, _, _ = rolled(tmp_path)
    assert one.share_of("odd") == 0 and kept(tmp_path).reason == "the state file was damaged"
    assert (tmp_path / f"{FILE}.damaged").exists()
    assert "the sink gets nothing until `pumpwatch rollout start`" in caplog.text


def test_the_roll_out_of_another_sink_begins_with_nothing(tmp_path: Path) -> None:
    write_state(tmp_path, RolloutState(sink="before", status="running", percent=50))
    one, _, _ = rolled(tmp_path)
    assert one.share_of("odd") == 0 and kept(tmp_path).sink == "odd"


def test_a_disk_that_takes_no_state_does_not_hold_up_a_roll_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, drain, _ = rolled(tmp_path)
    one.act("start")
    (tmp_path / FILE).unlink()
    (tmp_path / FILE / "in the way").mkdir(parents=True)
    one.act("back")
    one.act("start")
    assert drain.shares == [10, 0, 10]
    assert caplog.text.count("state of the roll-out not stored") == 1


def test_without_a_roll_out_every_sink_gets_everything(tmp_path: Path) -> None:
    one = unstarted(tmp_path).rollout
    one.load()
    one.start(lambda seconds, function: pytest.fail("nothing is to be run"))
    one.stop()
    assert one.share_of("odd") == 100 and one.status() == {} and not (tmp_path / FILE).exists()


def test_what_another_member_of_a_cluster_has_read_is_not_compared(tmp_path: Path) -> None:
    collector = unstarted(tmp_path)
    number = collector.catalogue.add(("binance", "spot"), Instrument(symbol="X", base="X", quote="USDT"))
    compared = partial(collector.rollout._read_here, number)
    assert compared(100 * S, 110 * S), "alone"
    spans = {("binance.spot", "X"): ((50 * S, 80 * S), (95 * S, 200 * S))}
    collector.cluster = SimpleNamespace(slice_spans=lambda *name: spans[name])  # type: ignore[assignment]
    assert [compared(start_s * S, (start_s + 10) * S) for start_s in (52, 62, 75, 100, 110, 195)] == [
        False, True, False, False, True, False]
