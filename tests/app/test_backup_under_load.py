"""A backup to a real S3 server beside a collector under load; everything deleted; restored; every trade compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Gap
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess
from tests.app.coverage import covered, missing
from tests.conftest import Cli
from tests.s3_server import KEY, SECRET, S3Server

VENUES = ("binance.spot", "binance.futures", "bybit.futures", "phemex.futures")
BEFORE, AFTER = 2000, 2000  # trades that are stored before the backup, and after its begin


def test_a_backup_under_load_brings_back_every_trade_after_everything_is_deleted(
        tmp_path: Path, s3_server: S3Server, forked_cli: Cli) -> None:
    bucket = s3_server.bucket()
    backup = {"folder": str(tmp_path / "backups"), "s3": {
        "url": bucket.url, "endpoint": s3_server.endpoint, "access_key": KEY, "secret_key": "${THE_SECRET}"}}
    environ = {"THE_SECRET": SECRET}
    with SimProcess(symbols=12, rate=1000.0, paused=True, folder=str(tmp_path / "venues"), venues=list(VENUES)) as sim:
        collector = CollectorProcess(sim, tmp_path, backup=backup)
        collector.start()
        collector.wait_until_up()
        sim.resume()
        collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > BEFORE)
        made = [json.loads(run_backup(collector, forked_cli, environ)) for _ in range(2)]
        durable = collector.figures()["journal"]["durable_trades"]
        collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > durable + AFTER)
        sim.pause()
        collector.wait_until_idle()
        figures = collector.wait_until(lambda figures: figures["backup"]["last_name"] == made[1]["name"])
        assert figures["backup"]["last_error"] == ""
        assert figures["journal"]["dropped_trades"] == 0
        third = json.loads(run_backup(collector, forked_cli, environ))
        assert collector.stop() == 0
        truth = sim.truth()
    for name in ("data", "backups", "archive"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)

    last = restored(collector, forked_cli, environ, f"{bucket.url}{third['name']}", tmp_path / "third")
    catalogue = Catalogue()
    reader = JournalReader(last, catalogue)
    reader.load_instruments()
    counted = compare(truth, reader.query(names_of(truth), 0, 2**62), catalogue)
    assert counted.doubled == counted.unknown == counted.different == 0, counted
    gaps = gaps_of(last)
    uncovered = [one for one in missing(truth, counted) if not covered(one, gaps)]
    assert not uncovered, uncovered[:10]
    assert counted.stored == third["trades"] > BEFORE + AFTER

    # a backup in the middle of it holds each symbol's trades up to its moment, without a hole, and nothing else
    middle = restored(collector, forked_cli, environ, f"{bucket.url}{made[1]['name']}", tmp_path / "middle")
    catalogue = Catalogue()
    reader = JournalReader(middle, catalogue)
    reader.load_instruments()
    batch = reader.query(names_of(truth), 0, 2**62)
    counted = compare(truth, batch, catalogue)
    assert counted.doubled == counted.unknown == counted.different == 0, counted
    assert BEFORE <= counted.stored == made[1]["trades"] < third["trades"]
    gaps = gaps_of(middle)
    for one in missing(truth, counted):
        number = catalogue.ids_of((one[0], one[1]))[one[2]]
        assert one[4] >= batch.timestamp[batch.instrument == number].max() or covered(one, gaps), one


def run_backup(collector: CollectorProcess, cli: Cli, environ: dict[str, str]) -> str:
    done = cli("backup", "--json", "-c", collector.config_file, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def restored(collector: CollectorProcess, cli: Cli, environ: dict[str, str], source: str, folder: Path) -> Path:
    checked = cli("backup", "verify", source, "-c", collector.config_file, env=environ)
    assert checked.returncode == 0, checked.stderr
    done = cli("restore", source, "--to", folder, "-c", collector.config_file, env=environ)
    assert done.returncode == 0, done.stderr
    return folder


def gaps_of(folder: Path) -> list[Gap]:
    ledger = Ledger(folder, read_only=True)
    try:
        return [gap for _, gap in ledger.gaps()]
    finally:
        ledger.close()
