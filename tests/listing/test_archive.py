"""An archive holds every trade of its window, exactly, and is whole or absent."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import ANALYSIS, Pass, Span, archive_name, free_name, trades_in, write_archive
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.context import Reach
from pumpwatch.listing.manifest import iso, read_manifest
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.model import SIDES, Gap, TradeBatch
from pumpwatch.store.query import QueryPart
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, listing_of, trades
from tests.small_disk import small_disk

S = NS_PER_S
CATALOGUE = catalogue_of_venues()
LISTING = listing_of()
SPAN = Span("KITE", [LISTING], intervals_of([LISTING], Reach()))
MARKET = TradeBatch.concat([trades(0, jump_ms=400), trades(1, jump_ms=250), trades(3, jump_ms=None)])
PARTS = [QueryPart("recent", 1000, 2.0), QueryPart("journal", 10, 7.5)]


def write(folder: Path, batch: TradeBatch = MARKET, gaps: list[Gap] | None = None) -> Any:
    return write_archive(folder, SPAN, batch, CATALOGUE, PARTS, gaps or [], Pass(ANNOUNCED_NS + 600 * S))


def raw(path: Path, exchange: str, market_type: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "raw" / exchange / f"{market_type}.json").read_text())
    return found


def gap(exchange: str, market_type: str, symbol: str, from_s: float, to_s: float) -> Gap:
    return Gap(exchange=exchange, market_type=market_type, symbol=symbol, from_ns=ANNOUNCED_NS + int(from_s * S),
               to_ns=ANNOUNCED_NS + int(to_s * S), first_id=None, last_id=None, reason="cut")


def test_every_trade_of_the_window_is_in_its_venues_file_to_the_digit(tmp_path: Path) -> None:
    archive = write(tmp_path)
    assert archive.path == tmp_path / "KITE_20261103T060000Z"
    total = 0
    for number, venue in ((0, ("alpha", "spot")), (1, ("alpha", "futures"))):
        wanted = MARKET.take((MARKET.instrument == number) & (MARKET.timestamp >= SPAN.intervals[0][0])
                             & (MARKET.timestamp < SPAN.intervals[0][1]))
        stored = pd.DataFrame(raw(archive.path, *venue)["trades"])
        assert stored["timestamp"].tolist() == wanted.timestamp.tolist()
        assert stored["price"].tolist() == wanted.price.tolist()
        assert stored["quantity"].tolist() == wanted.quantity.tolist()
        assert stored["trade_id"].tolist() == wanted.id_texts()
        assert stored["side"].tolist() == [SIDES[side] for side in wanted.side]
        assert stored["received_at"].tolist() == wanted.received_at.tolist()
        assert stored["sequence_number"].isna().all()
        assert set(stored["symbol"]) == {CATALOGUE.instruments[number].symbol}
        total += len(wanted)
    assert archive.trades == total == trades_in(archive.path)


def test_a_file_says_what_it_is_about(tmp_path: Path) -> None:
    found = raw(write(tmp_path).path, "alpha", "futures")
    assert (found["exchange"], found["market_type"], found["coin"]) == ("alpha", "futures", "KITE")
    assert found["symbols"] == [{"symbol": "1000KITEUSDT", "base": "1000KITE", "quote": "USDT", "multiplier": 1000,
                                 "contract_size": 1.0, "status": "trading"}]
    assert found["window"] == [[ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 23 * S]]
    assert found["announced_at"] == "2026-11-03T06:00:00.000000Z"
    assert found["detected_at"] == "2026-11-03T06:00:03.000000Z"
    assert found["listings"][0]["title"] == LISTING.title
    assert found["count"] == len(found["trades"]["price"])


def test_a_venue_that_has_the_coin_and_no_trades_says_so_and_others_have_no_file(tmp_path: Path) -> None:
    path = write(tmp_path).path
    quiet = raw(path, "beta", "spot")
    assert (quiet["count"], quiet["trades"]["price"]) == (0, [])
    assert sorted(str(file.relative_to(path)) for file in path.rglob("*.json")) == [
        "manifest.json", "notice.json", "raw/alpha/futures.json", "raw/alpha/spot.json", "raw/beta/spot.json",
        "refined/pump_analysis.json"]


def test_gaps_of_the_venue_that_touch_the_window_are_named(tmp_path: Path) -> None:
    gaps = [gap("alpha", "spot", "KITEUSDT", -5, -4), gap("alpha", "spot", "", 22, 50),
            gap("alpha", "spot", "KITEUSDT", 23, 24), gap("alpha", "spot", "OTHERUSDT", 0, 1),
            gap("beta", "spot", "", -40, -20), gap("beta", "spot", "KITE-USDT", 7, 7)]
    path = write(tmp_path, gaps=gaps).path
    assert [(gap["symbol"], gap["reason"], gap["state"]) for gap in raw(path, "alpha", "spot")["gaps"]] == [
        ("KITEUSDT", "cut", "open"), ("", "cut", "open")]
    assert raw(path, "alpha", "futures")["gaps"] == []
    assert [gap["from_ns"] for gap in raw(path, "beta", "spot")["gaps"]] == [ANNOUNCED_NS + 7 * S]
    assert len(json.loads((path / ANALYSIS).read_text())["gaps"]) == 3


def test_of_a_lost_connection_only_the_gaps_that_may_have_cost_trades_of_the_coin_are_named(tmp_path: Path) -> None:
    lost = gap("alpha", "spot", "", -5, -4)
    path = write(tmp_path, gaps=[replace(lost, symbols=("OTHERUSDT", "KITEUSDT")), replace(lost, symbols=("OTHERUSDT",)),
                                 replace(lost, market_type="futures", symbols=("KITEUSDT",))]).path
    assert [gap["symbols"] for gap in raw(path, "alpha", "spot")["gaps"]] == [["OTHERUSDT", "KITEUSDT"]]
    assert raw(path, "alpha", "futures")["gaps"] == []
    assert len(json.loads((path / ANALYSIS).read_text())["gaps"]) == 1


def test_the_manifest_says_which_passes_were_made_and_what_each_added(tmp_path: Path) -> None:
    half = MARKET.take(slice(0, len(MARKET), 2))
    first = write_archive(tmp_path, SPAN, half, CATALOGUE, PARTS, [], Pass(ANNOUNCED_NS + 26 * S, final=False))
    found = read_manifest(first.path)
    assert found is not None
    assert (found.final, found.final_at_ns, found.trades) == (False, None, first.trades)
    second = write_archive(tmp_path, SPAN, MARKET, CATALOGUE, PARTS, [], Pass(ANNOUNCED_NS + 83 * S, final=False))
    third = write_archive(tmp_path, SPAN, half, CATALOGUE, PARTS, [], Pass(ANNOUNCED_NS + 623 * S, True, ["a page"]))
    found = read_manifest(third.path)
    assert found is not None
    assert [(row.trades, row.added) for row in found.passes] == [
        (first.trades, first.trades), (second.trades, second.trades - first.trades), (second.trades, 0)]
    assert (found.final, found.final_at_ns, found.problems) == (True, ANNOUNCED_NS + 623 * S, ("a page",))
    assert found.final_at == "2026-11-03T06:10:23.000000Z"
    assert (third.kept, trades_in(third.path)) == (True, second.trades)


def test_the_manifest_names_every_file_with_its_checksum_and_how_it_was_made(tmp_path: Path) -> None:
    path = write(tmp_path).path
    found = read_manifest(path)
    assert found is not None
    there = {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    del there["manifest.json"]
    assert {name: (row.bytes, row.sha256) for name, row in found.files.items()} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in there.items()}
    assert found.parts == ({"source": "recent", "rows": 1000, "ms": 2.0}, {"source": "journal", "rows": 10, "ms": 7.5})
    assert set(found.versions) == {"pumpwatch", "python", "numpy", "pyarrow"}
    assert list(found.steps_ms) == ["query", "raw", "books", "analysis", "chart", "parquet"]
    assert found.steps_ms["query"] == 9.5


def test_the_manifest_says_how_complete_each_venue_is(tmp_path: Path) -> None:
    path = write(tmp_path, gaps=[gap("alpha", "spot", "", -30, -4)]).path
    found = read_manifest(path)
    assert found is not None
    assert [(row.exchange, row.market_type, row.state) for row in found.venues] == [
        ("alpha", "futures", "traded"), ("alpha", "spot", "incomplete"), ("beta", "spot", "no trade"),
        ("gamma", "spot", "not listed")]
    (missing,) = found.venues[1].missing
    assert (missing.from_ns, missing.to_ns, missing.reason) == (ANNOUNCED_NS - 20 * S, ANNOUNCED_NS - 4 * S, "cut")


def test_a_notice_is_kept_with_the_times_of_its_sight(tmp_path: Path) -> None:
    (notice,) = json.loads((write(tmp_path).path / "notice.json").read_text())["notices"]
    assert (notice["title"], notice["notice_id"], notice["source"]) == (LISTING.title, "6642", "upbit")
    assert (notice["announced_at"], notice["detected_after_ms"]) == ("2026-11-03T06:00:00.000000Z", 3000)


def test_without_the_extra_an_archive_has_no_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (write(tmp_path / "with").path / "trades.parquet").is_file()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path / "without").path
    assert not (path / "trades.parquet").exists()
    assert check_archive(path).faults == ()


def test_an_archive_does_not_depend_on_the_order_in_which_things_are_known(tmp_path: Path) -> None:
    """Another catalogue has other ids, and another part of the store another order of trades of the same moment."""
    gaps = [gap("alpha", "spot", "KITEUSDT", -5, -4), gap("alpha", "spot", "", 1, 2)]
    together = replace(MARKET, timestamp=MARKET.timestamp // (100 * S // 1000) * (100 * S // 1000))
    first = write(tmp_path / "a", together, gaps).path
    other = Catalogue()
    for number in (4, 1, 2, 0):
        other.add(CATALOGUE.venues[number], CATALOGUE.instruments[number])
    ids = np.array([3, 1, 2, -1, 0], np.int32)
    turned = replace(together, instrument=ids[together.instrument]).take(slice(None, None, -1))
    turned = turned.take(turned.instrument >= 0)
    second = write_archive(tmp_path / "b", SPAN, turned, other, [], gaps[::-1], Pass(5)).path
    names = sorted(file.relative_to(first).as_posix() for file in first.rglob("*") if file.is_file())
    assert names == sorted(file.relative_to(second).as_posix() for file in second.rglob("*") if file.is_file())
    assert {name for name in names if (first / name).read_bytes() != (second / name).read_bytes()} == {"manifest.json"}


def test_trades_before_the_window_say_what_is_normal_and_are_in_no_file(tmp_path: Path) -> None:
    long = trades(0, jump_ms=400, from_s=-300)
    path = write(tmp_path, long).path
    (row,) = [row for row in json.loads((path / ANALYSIS).read_text())["instruments"] if row["symbol"] == "KITEUSDT"]
    assert row["baseline"]["seconds"] > 290
    assert row["trades"] == raw(path, "alpha", "spot")["count"] == pytest.approx(43 * 20, abs=100)


def test_a_disk_that_fills_is_a_storage_error_that_leaves_the_older_archive(tmp_path: Path) -> None:
    """The window keeps trying, so the archive is written once there is room."""
    with small_disk(tmp_path / "disk", 1) as problem:
        if problem:
            pytest.skip(problem)
        first = write(tmp_path / "disk", MARKET.take(slice(0, 10)))
        large = TradeBatch.concat([trades(0, jump_ms=400, rate=1000), trades(1, jump_ms=250, rate=1000)])
        with pytest.raises(StorageError, match="No space left"):
            write(tmp_path / "disk", large)
        assert [path.name for path in (tmp_path / "disk").iterdir()] == [first.path.name]
        assert check_archive(first.path).faults == ()


def test_an_archive_is_replaced_only_by_one_with_at_least_as_many_trades(tmp_path: Path) -> None:
    half = MARKET.take(slice(0, len(MARKET), 2))
    first = write(tmp_path, half)
    second = write(tmp_path)
    assert (second.kept, second.trades > first.trades) == (False, True)
    third = write(tmp_path, half)
    assert (third.kept, third.trades, third.path) == (True, second.trades, second.path)
    assert trades_in(second.path) == second.trades
    assert write(tmp_path).kept is False
    assert [path.name for path in tmp_path.iterdir()] == [second.path.name]


def test_a_crash_between_two_renames_loses_no_archive(tmp_path: Path) -> None:
    first = write(tmp_path)
    first.path.rename(tmp_path / f".{first.path.name}.replaced")
    again = write(tmp_path, MARKET.take(slice(0, 10)))
    assert (again.kept, trades_in(again.path)) == (True, first.trades)
    assert [path.name for path in tmp_path.iterdir()] == [first.path.name]


def test_an_archive_that_was_damaged_is_written_anew(tmp_path: Path) -> None:
    first = write(tmp_path)
    (first.path / ANALYSIS).write_text("{")
    assert trades_in(first.path) is None
    assert write(tmp_path, MARKET.take(slice(0, 2000))).kept is False
    assert trades_in(first.path) is not None


def test_a_folder_that_cannot_be_written_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write the archive"):
        write(tmp_path / "file" / "archives")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_trades_come_out_in_order_whatever_order_they_came_in(tmp_path: Path) -> None:
    shuffled = MARKET.take(np.random.default_rng(3).permutation(len(MARKET)))
    times = raw(write(tmp_path, shuffled).path, "alpha", "spot")["trades"]["timestamp"]
    assert times == sorted(times)
    assert len(times) > 500


def test_a_name_that_another_board_has_gets_the_boards_own_name(tmp_path: Path) -> None:
    name = archive_name("KITE", ANNOUNCED_NS)
    assert free_name(tmp_path, "KITE", ANNOUNCED_NS, "upbit") == name
    assert free_name(tmp_path, "KITE", ANNOUNCED_NS, "bithumb", {name}) == f"{name}_bithumb"
    assert free_name(tmp_path, "KITE", ANNOUNCED_NS, "../x/y", {name}) == f"{name}____x_y"
    (tmp_path / name / ANALYSIS).parent.mkdir(parents=True)
    (tmp_path / name / ANALYSIS).write_text('{"listings": [{"source": "upbit", "exchange": ""}]}')
    assert free_name(tmp_path, "KITE", ANNOUNCED_NS, "upbit") == name
    assert free_name(tmp_path, "KITE", ANNOUNCED_NS, "bithumb") == f"{name}_bithumb"


def test_names_are_in_utc_seconds() -> None:
    assert archive_name("1INCH", ANNOUNCED_NS + 999_999_999) == "1INCH_20261103T060000Z"


@pytest.mark.parametrize("at_ns", [-(2**63), 2**63 - 1, 10**30, -(10**30)])
def test_no_time_breaks_the_words_for_it(at_ns: int) -> None:
    assert iso(at_ns)


def test_an_archive_of_a_drill_has_a_name_and_marks_of_its_own(tmp_path: Path) -> None:
    assert archive_name("KITE", ANNOUNCED_NS, drill=True) == "DRILL-KITE_20261103T060000Z"
    real = write(tmp_path)
    drill = write_archive(tmp_path, replace(SPAN, listings=[replace(listing, drill=True) for listing in SPAN.listings]), MARKET,
                          CATALOGUE, PARTS, [], Pass(ANNOUNCED_NS + 600 * S))
    assert real.path.is_dir() and drill.path.name == f"DRILL-{real.path.name}"
    for path in (*drill.path.glob("raw/*/*.json"), drill.path / ANALYSIS, drill.path / "manifest.json"):
        assert json.loads(path.read_text("utf-8"))["drill"] is True
