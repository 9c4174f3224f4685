"""A running collector tells its channels: a drill takes the way of a notice, messages survive a kill, and secrets stay secret."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pumpwatch.app.collector import Collector
from pumpwatch.cli import run
from pumpwatch.clock import Clock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.config_listing import ChannelConfig, ListingConfig
from pumpwatch.listing.archive import Archive
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.notify.told import listing, wait_for
from tests.notify.web_service import WebService

VENUES = ["binance.spot"]
SECRET = "n0b0dy-sees-this"


def row_of(figures: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in figures["notify"] if row["name"] == name)


def events(service: WebService) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in service.posts]


def test_a_drill_goes_all_the_way_and_its_messages_survive_a_kill(tmp_path: Path) -> None:
    log_file, key = tmp_path / "told.jsonl", tmp_path / "key"
    key.write_text(SECRET)
    key.chmod(0o600)
    append = f"import sys; open({str(log_file)!r}, 'a').write(sys.stdin.read())"
    with WebService(500) as service, SimProcess(venues=VENUES, symbols=6, rate=200.0, folder=str(tmp_path / "venues")) as sim:
        board = {"upbit": {"url": sim.addresses["boards"]["upbit"]["url"], "interval_s": 1.0}}
        collector = CollectorProcess(sim, tmp_path, listing={"before_s": 2.0, "after_s": 2.0, "sources": board}, notify={
            "hook": {"webhook": f"http://{service.address}/{SECRET}", "secret": f"file:{key}", "timeout_s": 30.0},
            "program": {"command": [sys.executable, "-S", "-c", append]}})
        with collector:
            collector.wait_until_up()
            assert run(["listing", "fake", "SOMI", "--source", "upbit", "--delay", "1", "-c", str(collector.config_file)]) == 0
            collector.wait_until(lambda figures: row_of(figures, "hook")["failed"] == 1)
            collector.kill(signal.SIGKILL)
            collector.start()
            figures = collector.wait_until(lambda figures: row_of(figures, "hook")["sent"] == 2 and
                                           row_of(figures, "program")["waiting"] == 0 and
                                           figures["listing"]["windows"]["not_final"] == 1)
            status = (collector.data / "status.json").read_text("utf-8")
            assert collector.stop() == 0
    told = events(service)
    assert [event["kind"] for event in told[1:]] in (["seen", "archived"], ["archived", "seen"])  # the first was refused
    assert all((event["drill"], event["coin"], event["source"], event["delay_ms"] >= 1000) == (True, "SOMI", "upbit", True)
               for event in told)
    kinds = [json.loads(line)["kind"] for line in log_file.read_text("utf-8").splitlines()]
    assert sorted(set(kinds)) == ["archived", "seen"]
    assert row_of(figures, "hook")["up"] is True
    ledger = Ledger(collector.data)
    (record,) = ledger.listings()
    assert ledger.messages() == [] and record.listing.drill and record.listing.title.startswith("SOMI(SOMI) ")
    assert ledger.seen_notices("upbit", [record.listing.notice_id]) == {}
    ledger.close()
    archive = Path(record.archive)
    assert archive.name.startswith("DRILL-SOMI_") and json.loads((archive / "manifest.json").read_text())["drill"] is True
    assert json.loads((archive / "raw" / "binance" / "spot.json").read_text("utf-8"))["drill"] is True
    log = collector.log()
    assert "drill=True" in log and log.count("channel failed channel=hook") == 1
    stored = b"".join(path.read_bytes() for path in collector.data.rglob("ledger.sqlite*"))
    assert SECRET not in log and SECRET not in status and SECRET.encode() not in stored


def collector_with(folder: Path, *command: str) -> Collector:
    return Collector(Config(store=StoreConfig(dir=str(folder)), listing=ListingConfig(archive_dir=str(folder)),
                            notify={"program": ChannelConfig(command=list(command), timeout_s=1000.0)}))


def end(collector: Collector, within_s: float) -> None:
    collector.notifying.notifier.stop()
    collector.notifying.stop(within_s)
    collector.supervisor.stop_all(5)
    collector.journal.close()


def test_a_start_tells_what_is_on_record_and_was_not_told(tmp_path: Path) -> None:
    """The earlier run was killed before it stored a message. What was told, is old or opened no window is not told."""
    now_ns = Clock().now_ns()
    found = {coin: replace(listing(coin), detected_at_ns=now_ns - 10**9 * age_s)
             for coin, age_s in (("SEEN", 5), ("WRITTEN", 60), ("TOLD", 50), ("UNOPENED", 40), ("OLD", 90_000))}
    collector = collector_with(tmp_path, sys.executable, "-S", "-c", f"import sys; open({str(tmp_path / 'told')!r}, 'a').write("
                               "sys.stdin.read())")
    collector.journal.open()
    ledger = collector.journal.ledger
    ledger.messages_since(1, 0)
    for coin in ("SEEN", "WRITTEN", "TOLD", "OLD"):
        ledger.remember_listing(found[coin])
    ledger.remember_missed(found["UNOPENED"], "not opened: too many at once")
    ledger.finish_listing("upbit", "6642", "WRITTEN", str(tmp_path / "WRITTEN_1"), 7)
    ledger.store_messages([], ["seen:upbit:6642:TOLD", "seen:upbit:6642:WRITTEN"], now_ns)
    collector.notifying.start()
    try:
        wait_for(lambda: collector.notifying.notifier.status()[0]["sent"] == 2 and not ledger.messages())
    finally:
        end(collector, 60)
    told = [json.loads(line) for line in (tmp_path / "told").read_text("utf-8").splitlines()]
    assert sorted((event["kind"], event["coin"], event["trades"]) for event in told) == [
        ("archived", "WRITTEN", 7), ("seen", "SEEN", 0)]


def test_a_stop_waits_for_a_message_under_way_so_that_it_is_not_sent_again(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(f"#!/bin/sh\necho >> {tmp_path}/began\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.05; done\n")
    (tmp_path / "hook").chmod(0o755)
    for within_s, left in ((0.1, 1), (60.0, 0)):
        collector = collector_with(tmp_path, str(tmp_path / "hook"))
        collector.journal.open()
        collector.notifying.start()
        collector.notifying.seen(listing())
        wait_for((tmp_path / "began").exists)
        if not left:
            (tmp_path / "go").touch()
        end(collector, within_s)
        ledger = Ledger(tmp_path)
        assert len(ledger.messages()) == left
        ledger.close()
        (tmp_path / "began").unlink()


def test_news_of_a_listing_are_only_left_for_the_notifier(tmp_path: Path) -> None:
    """A ledger that is not even open and a channel that cannot be started hold up nobody who brings news."""
    collector = Collector(Config(store=StoreConfig(dir=str(tmp_path)), listing=ListingConfig(archive_dir=str(tmp_path)),
                                 notify={"program": ChannelConfig(command=["/does/not/exist"])}))
    collector.notifying.seen(listing())
    collector.notifying.written(listing(), Archive(tmp_path / "gone", 0), [])
    assert collector.status.now()["notify"] == [{"name": "program", "kind": "command", "up": True, "reason": "", "sent": 0,
                                                 "failed": 0, "given_up": 0, "waiting": 0}]
    collector.journal.open()
    try:
        collector.notifying.start()
        wait_for(lambda: collector.notifying.notifier.status()[0]["given_up"] == 2)
        assert "cannot be started" in collector.status.now()["notify"][0]["reason"]
    finally:
        collector.notifying.notifier.stop()
        collector.supervisor.stop_all(5)
        collector.journal.close()
