"""A collector records the order books of a listed coin on every venue, whatever some of them answer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.books import read_books
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess

WINDOW_S = 6.0
ASKED_TOO_OFTEN = "kucoin.spot"
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "rest", "venue": "binance.spot", "form": "page", "path": "depth"},
    {"kind": "rest", "venue": "bybit.spot", "form": "half", "path": "orderbook"},
    {"kind": "rest", "venue": "okx.spot", "form": "nothing", "path": "books"},
    {"kind": "rest", "venue": "gate.spot", "form": "hang", "path": "order_book"},
    {"kind": "rest", "venue": ASKED_TOO_OFTEN, "status": 429, "path": "orderbook"},
    {"kind": "history", "venue": "phemex.spot", "form": "none"},
)


def test_books_of_every_venue_are_archived_and_failures_are_named(tmp_path: Path) -> None:
    with SimProcess(symbols=6, rate=300.0, paused=True, folder=str(tmp_path / "venues")) as sim:
        board = {"url": sim.addresses["boards"]["upbit"]["url"], "interval_s": 1.0}
        listing = {"before_s": WINDOW_S, "after_s": WINDOW_S, "sources": {"upbit": board}}
        with CollectorProcess(sim, tmp_path, listing=listing, backfill={"enabled": False}) as collector:
            collector.wait_until_up()
            sim.resume()
            time.sleep(WINDOW_S)  # of trades before the notice
            for fault in FAULTS:
                sim.fault(**fault, seconds=120.0)
            sim.publish("SOMI")
            collector.wait_until(lambda figures: figures["listing"]["windows"]["open"] == 1)
            collector.wait_until(lambda figures: figures["listing"]["windows"]["not_final"] == 1)
            rejected = {name: venue["rejected"] for name, venue in sim.status()["venues"].items()}
            assert collector.stop() == 0
            log = collector.log()
    ledger = Ledger(collector.data)
    (archive,) = [Path(record.archive) for record in ledger.listings()]
    ledger.close()
    assert check_archive(archive).faults == ()
    manifest = read_manifest(archive)
    assert manifest is not None
    rows = {f"{row.exchange}.{row.market_type}": row for row in manifest.books}
    assert len(rows) == 12
    failing = {"binance.spot", "bybit.spot", "okx.spot", "gate.spot", ASKED_TOO_OFTEN}
    assert {name for name, row in rows.items() if not row.snapshots} == failing
    reasons = {name: {gap.reason for gap in rows[name].problems} for name in failing}
    for name in ("binance.spot", "bybit.spot", "okx.spot"):
        assert all(reason.startswith("the answer cannot be read") for reason in reasons[name]) and reasons[name]
    assert "no answer within 5 s" in reasons["gate.spot"]
    assert any("HTTP 429" in reason for reason in reasons[ASKED_TOO_OFTEN])
    assert log.count("order book missing") == len({line for line in log.splitlines() if "order book missing" in line}) > 0
    for name in failing:
        assert log.count(f"order book missing coin=SOMI venue={name} ") == 1
    assert set(rejected.values()) == {0}  # none by the venues' own limits
    books = {f"{venue.exchange}.{venue.market_type}": venue for venue in read_books(archive)}
    assert all(not column for snapshot in books["phemex.spot"].snapshots for column in snapshot.levels)
    for name, venue in books.items():
        if name != "phemex.spot":
            raw = json.loads((archive / "raw" / venue.exchange / f"{venue.market_type}.json").read_bytes())
            assert {snapshot.levels[2][0] for snapshot in venue.snapshots} <= set(raw["trades"]["price"])
    analysis = json.loads((archive / "refined" / "pump_analysis.json").read_bytes())
    buys = {f"{row['exchange']}.{row['market_type']}": row["book_buys"] for row in analysis["instruments"]}
    assert {name for name, found in buys.items() if found is None} == failing
    assert any(row["price"] for row in buys["okx.futures"])
