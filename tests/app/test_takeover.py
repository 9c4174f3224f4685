"""A new collector takes over from a running one: nothing is missing or doubled, and nothing is recorded as a gap."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from pumpwatch.app.collector import Collector
from pumpwatch.app.takeover import Takeover
from pumpwatch.catalogue import Catalogue
from pumpwatch.config import Config, StoreConfig
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import EXIT_DISK, EXIT_UNAVAILABLE
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import HANGS_S, CollectorProcess
from tests.app.reckoning import counted_in_journal
from tests.app.slow_line import SlowLine

TAKEOVERS = int(os.environ.get("TEST_TAKEOVERS", "2"))
RATE = float(os.environ.get("TEST_TAKEOVER_RATE", "1000"))
VENUES = ("binance.spot", "binance.futures", "kucoin.spot", "bybit.futures", "phemex.futures")  # every kind of ids


def replaced_by(collector: CollectorProcess) -> CollectorProcess:
    """Start another process with --replace, and wait until the old one has ended and the new one records."""
    old, follower = collector.child, collector.beside()
    assert old is not None
    follower.start("--replace")
    assert old.wait(HANGS_S) == 0, follower.log()
    follower.wait_until_up()
    return follower


def gaps_in(folder: Path) -> list[str]:
    ledger = Ledger(folder, read_only=True)
    found = [f"{gap.exchange}.{gap.market_type} {gap.symbol} {gap.reason}" for _, gap in ledger.gaps()]
    ledger.close()
    return found


def test_one_takeover_after_another_under_load_leaves_no_gap_and_stores_everything_once(tmp_path):
    rules = {venue: {"connects_per_5_minutes": 10_000} for venue in VENUES}
    with SimProcess(symbols=12, rate=RATE, paused=True, folder=str(tmp_path / "venues"), venues=list(VENUES),
                    rules=rules) as sim, CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(1.0)
        for _ in range(TAKEOVERS):
            collector = replaced_by(collector)
            time.sleep(1.0)
        sim.pause()
        time.sleep(1.0)
        assert collector.stop() == 0, collector.log()
        truth = sim.truth()
    catalogue = Catalogue()
    reader = JournalReader(tmp_path / "data", catalogue)
    reader.load_instruments()
    counted = compare(truth, reader.query(names_of(truth), 0, 2**62), catalogue)
    assert counted.doubled == counted.unknown == counted.different == 0, counted
    assert counted.stored == counted.sent
    assert gaps_in(tmp_path / "data") == []


def test_where_the_new_one_does_not_come_up_the_old_one_goes_on(tmp_path):
    with SimProcess(symbols=3, rate=200.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.fault(kind="hang", seconds=60)
        follower = collector.beside()
        follower.start("--replace", "--replace-within", "2")
        assert follower.child.wait(HANGS_S) == EXIT_UNAVAILABLE
        assert "binance.spot did not come up within 2 s" in follower.log()
        assert collector.child.poll() is None
        before = collector.figures()["journal"]["durable_trades"]
        collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > before)


def test_where_none_runs_it_simply_starts(tmp_path):
    with SimProcess(symbols=3, rate=200.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim:
        collector = CollectorProcess(sim, tmp_path)
        collector.start("--replace")
        collector.wait_until_up()
        assert collector.stop() == 0
        assert "nothing to replace" in collector.log()


def test_in_the_background_the_command_returns_once_it_has_taken_over(tmp_path):
    with SimProcess(symbols=3, rate=200.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        command = [sys.executable, "-m", "pumpwatch", "collect", "--replace", "--background", "-c", str(collector.config_file)]
        with (tmp_path / "background.log").open("wb") as log:
            assert subprocess.run(command, stdout=log, stderr=log, cwd=tmp_path, timeout=HANGS_S, check=False).returncode == 0
        assert collector.child.wait(HANGS_S) == 0
        pid = collector.figures_of_any_run()["pid"]
        assert pid not in (0, collector.child.pid)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + HANGS_S
        while collector.figures_of_any_run()["pid"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_where_the_old_one_is_killed_meanwhile_the_time_until_the_new_one_reads_is_a_gap(tmp_path):
    with SimProcess(symbols=3, rate=200.0, folder=str(tmp_path / "venues"), venues=["binance.spot", "kucoin.spot"]) as sim, \
            CollectorProcess(sim, tmp_path, backfill={"enabled": False}) as collector:
        collector.wait_until_up()
        time.sleep(1.0)
        follower = collector.beside()
        sim.fault(kind="hang", seconds=4)  # the new one does not come up before
        follower.start("--replace")
        follower.wait_for_log("reading beside the running collector")
        collector.kill(signal.SIGKILL)
        follower.wait_until_up()
        time.sleep(1.0)
        sim.pause()
        time.sleep(1.0)
        assert follower.stop() == 0, follower.log()
        found = gaps_in(tmp_path / "data")
    assert any("binance.spot" in gap and "not running" in gap for gap in found), found
    assert any("kucoin.spot" in gap and "not running" in gap for gap in found), found


def test_trades_that_reach_only_the_new_one_in_time_are_not_missed(tmp_path):
    venue, late_s = "bybit.futures", 3.0  # its ids would not show a loss
    with SimProcess(symbols=3, rate=300.0, paused=True, folder=str(tmp_path / "venues"), venues=[venue]) as sim:
        address = yaml.safe_load(sim.config_yaml())["exchanges"]["bybit"]["futures"]["ws_url"]
        port = urlsplit(address).port
        with SlowLine(port) as line, CollectorProcess(sim, tmp_path, backfill={"enabled": False}) as direct:
            direct.wait_until_up()
            assert direct.stop() == 0
            old = direct.beside()
            old.config_file = tmp_path / "slow.yaml"
            old.config_file.write_text(direct.config_file.read_text("utf-8").replace(f":{port}/", f":{line.port}/"), "utf-8")
            old.start()
            old.wait_until_up()
            line.delay_s = late_s
            sim.resume()
            old.wait_until(lambda figures: figures["venues"][0]["lag_ms"] > 900 * late_s)
            follower = direct.beside()
            follower.start("--replace")
            assert old.child.wait(HANGS_S) == 0, follower.log()
            follower.wait_until_up()
            sim.pause()
            follower.wait_until_idle()
            assert follower.stop() == 0, follower.log()
            truth = sim.truth()
    counted = counted_in_journal(truth, tmp_path / "data")
    assert counted.missing == counted.doubled == 0, counted


def test_the_service_manager_knows_the_new_process_before_the_old_one_ends_and_hears_when_it_records(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, SimProcess(
            symbols=3, rate=200.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim:
        manager.bind(str(tmp_path / "notify"))
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.settimeout(HANGS_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        alive: set[int] = set()  # processes that have reported to the watchdog

        def heard() -> tuple[bytes, int]:
            while True:
                text, ((_, _, credentials),), _, _ = manager.recvmsg(1000, socket.CMSG_SPACE(12))
                pid = struct.unpack("3i", credentials)[0]
                if text != b"WATCHDOG=1":
                    return text, pid
                alive.add(pid)

        with CollectorProcess(sim, tmp_path) as collector:
            assert heard() == (b"READY=1", collector.child.pid)
            collector.wait_until(lambda figures: figures["venues"][0]["connections_up"] > 0)
            follower = collector.beside()
            follower.start("--replace")
            follower.wait_for_log("reading beside the running collector")
            collector.child.send_signal(signal.SIGSTOP)  # it cannot end before it goes on
            assert heard() == (b"MAINPID=%d" % follower.child.pid, follower.child.pid)
            assert alive == {collector.child.pid, follower.child.pid}, "a hung one must not have the new one killed"
            collector.child.send_signal(signal.SIGCONT)
            assert collector.child.wait(HANGS_S) == 0, follower.log()
            assert heard() == (b"READY=1", follower.child.pid)
            follower.wait_until_up()
            assert follower.stop() == 0, follower.log()
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard()


def test_both_processes_together_keep_what_a_venue_allows_an_address(tmp_path):
    one_each = {"okx": {"spot": {"symbols_per_connection": 1}}}
    with SimProcess(symbols=6, rate=200.0, folder=str(tmp_path / "venues"), venues=["okx.spot"]) as sim:
        exchanges = yaml.safe_load(sim.config_yaml())["exchanges"]
        exchanges["okx"]["spot"] |= one_each["okx"]["spot"]
        with CollectorProcess(sim, tmp_path, exchanges=exchanges) as collector:
            collector.wait_until_up()
            follower = collector.beside()
            follower.start("--replace")
            collector.wait_for_log("each uses half of the venues' limits")
            sim.fault(kind="cut")  # so that the old one connects again beside the new one
            assert collector.child.wait(HANGS_S) == 0, follower.log()
            follower.wait_until_up()
            sim.pause()
            follower.wait_until_idle()
            assert follower.stop() == 0, follower.log()
        refused = [event for event in sim.truth().events if event["kind"] in ("refused", "rejected")]
    assert refused == []


def test_a_second_takeover_at_the_same_time_ends_and_harms_nothing(tmp_path):
    with SimProcess(symbols=3, rate=200.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.fault(kind="hang", seconds=60)
        first = collector.beside()
        first.start("--replace", "--replace-within", "60")
        first.wait_for_log("reading beside the running collector")
        second = collector.beside()
        second.start("--replace")
        assert second.child.wait(HANGS_S) == EXIT_DISK
        assert "is already taking over" in second.log()
        first.kill(signal.SIGTERM)
        assert collector.child.poll() is None


def test_background_without_replace_is_wrong_usage(forked_cli):
    done = forked_cli("collect", "--background")
    assert done.returncode == 2
    assert "--replace" in done.stderr


def test_a_venue_that_other_members_of_a_cluster_read_is_not_waited_for(tmp_path):
    collector = Collector(Config(store=StoreConfig(dir=str(tmp_path)), cluster=ClusterConfig(name="crew", member="a"),
                                 redis=RedisConfig(nodes=["127.0.0.1:1"])))
    for venue, part in collector.chosen[:2]:
        collector._add_feeds(venue, part, None, 0)
    idle, read = collector.venues
    idle._asked_ns = read._asked_ns = 1
    rows = {idle: {"connections": 0, "connections_up": 0, "slices_read": []},
            read: {"connections": 1, "connections_up": 1, "slices_read": [0, 2]}}
    (tmp_path / "status.json").write_text(json.dumps({"pid": 1, "written_at_ns": 1, "venues": [
        {"exchange": feeds.venue.exchange, "market_type": feeds.venue.market_type, **row} for feeds, row in rows.items()]}))
    takeover = Takeover(collector, 1.0)
    assert takeover._behind() == [read.venue.name], "the other one reads slices that this one does not"
    read.slices.numbers |= {0, 2}
    assert takeover._behind() == [read.venue.name], "no connection is up"
    collector.redis.close()
