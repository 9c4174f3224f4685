"""A running collector tells its channels: a drill takes the way of a notice, messages survive a kill, and secrets stay secret."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from pumpwatch.app.collector import Collector
from pumpwatch.cli import run
from pumpwatch.config import ChannelConfig, Config, ListingConfig, StoreConfig
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
        collector = CollectorProcess(sim, tmp_path, listing={"window_s": 2.0, "sources": board}, notify={
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
    assert "drill=True" in log and log.count("channel takes no message channel=hook") == 1
    stored = b"".join(path.read_bytes() for path in collector.data.rglob("ledger.sqlite*"))
    assert SECRET not in log and SECRET not in status and SECRET.encode() not in stored


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
