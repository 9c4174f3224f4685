"""Archives made again from a data folder, and what there is to see in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.config_listing import ListingConfig
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.listing.archive import Pass, Span, trades_in, write_archive
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.books import VenueBooks, snapshot_of
from pumpwatch.listing.context import Reach
from pumpwatch.listing.notice_file import seen_of
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.listing.replay import replay, show
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.order_book import OrderBook
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.ledger import Ledger
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, listing_of, trades

S = NS_PER_S
KITE = listing_of()
NAME = "KITE_20261103T060000Z"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A data folder that a collector left behind: trades, a gap, and a listing without an archive."""
    catalogue = catalogue_of_venues()
    journal = Journal(tmp_path / "data", catalogue, Clock(), Stats())
    journal.open()
    gap = Gap(exchange="alpha", market_type="spot", symbol="KITEUSDT", from_ns=ANNOUNCED_NS, to_ns=ANNOUNCED_NS + S,
              first_id=None, last_id=None, reason="connection lost")
    market = TradeBatch.concat([trades(0, jump_ms=400), trades(1, jump_ms=250), trades(3, jump_ms=None)])
    batches = [market.take(slice(start, start + 500)) for start in range(0, len(market), 500)]
    journal.record(Records(gaps=[gap]))
    journal.commit(TradeBatch.concat(batches))
    journal.ledger.remember_listing(KITE)
    journal.close()
    return Config(store=StoreConfig(dir=str(tmp_path / "data")),
                  listing=ListingConfig(archive_dir=str(tmp_path / "archives")))


def test_a_remembered_listing_is_replayed_with_its_own_times(config: Config) -> None:
    assert [row["state"] for row in show(config)] == ["open"]
    made = replay(config, "kite", ANNOUNCED_NS + 5 * S)
    assert Path(made["archive"]).name == NAME
    assert made["trades"] == trades_in(Path(made["archive"])) > 1500
    assert made["window"] == [["2026-11-03T05:59:40.000000Z", "2026-11-03T06:00:23.000000Z"]]
    assert made["listings"] == ["upbit:6642"]
    assert made["venues"] == ["alpha.futures", "alpha.spot"]
    assert [part["source"] for part in made["parts"]] == ["journal"]
    (row,) = show(config)
    assert (row["state"], row["trades"], row["archive"]) == ("written", made["trades"], made["archive"])
    assert (row["delay_ms"], row["first_mover"]) == (3000, "alpha.futures")
    assert row["peak_percent"] == pytest.approx(20, abs=1)
    assert row["incomplete"] == ["alpha.spot"]  # the gap


def test_an_archive_is_made_again_byte_for_byte(config: Config) -> None:
    """The collector knows a venue on which nobody traded, and has the trades in another order."""
    market = TradeBatch.concat([trades(1, jump_ms=250), trades(0, jump_ms=400)])
    ledger = Ledger(Path(config.store.dir))
    gaps = ledger.gaps_between(0, 2**62)
    span = Span("KITE", [KITE], intervals_of([KITE], Reach()), seen=seen_of(ledger, [KITE]))
    ledger.close()
    first = write_archive(Path(config.listing.archive_dir), span, market, catalogue_of_venues(), [], gaps, Pass(5)).path
    before = {path.relative_to(first).as_posix(): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert "raw/beta/spot.json" in before
    made = replay(config, "KITE", ANNOUNCED_NS)
    assert (made["archive"], made["kept"]) == (str(first), False)
    after = {path.relative_to(first).as_posix(): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert before.keys() == after.keys()
    assert [name for name, content in before.items() if after[name] != content] == ["manifest.json"]
    assert check_archive(first).faults == ()


def test_order_books_are_kept_from_the_archive_and_left_out_where_it_was_removed(config: Config) -> None:
    book = OrderBook(bids=[(0.09, 5.0)], asks=[(0.1, 5.0)])
    books = [VenueBooks("alpha", "spot", [snapshot_of("KITEUSDT", book, ANNOUNCED_NS, ANNOUNCED_NS + 2)])]
    span = Span("KITE", [KITE], intervals_of([KITE], Reach()))
    path = write_archive(Path(config.listing.archive_dir), span, TradeBatch.empty(), catalogue_of_venues(), [], [],
                         Pass(5, books=books)).path
    before = (path / "raw/alpha/spot_book.json").read_bytes()
    made = replay(config, "KITE", ANNOUNCED_NS)
    assert (made["archive"], made["books"], made["trades"] > 0) == (str(path), 1, True)
    assert (path / "raw/alpha/spot_book.json").read_bytes() == before
    path.rename(path.with_name("elsewhere"))
    assert replay(config, "KITE", ANNOUNCED_NS)["books"] == 0
    assert not (path / "raw/alpha/spot_book.json").exists()


def test_any_coin_and_time_can_be_replayed(config: Config) -> None:
    made = replay(config, "OTHER", ANNOUNCED_NS + 10 * S)
    assert Path(made["archive"]).name == "OTHER_20261103T060010Z"
    assert made["trades"] == pytest.approx(800, abs=100)
    assert [row["id"] for row in show(config)] == ["upbit:6642", "replay:2026-11-03T06:00:10.000000Z"]


@pytest.mark.parametrize("wanted", ["KITE", "kite", "6642", "upbit:6642", NAME, f"archives/{NAME}"])
def test_a_listing_is_shown_with_its_analysis_by_any_of_its_names(config: Config, wanted: str) -> None:
    replay(config, "KITE", ANNOUNCED_NS)
    replay(config, "OTHER", ANNOUNCED_NS)
    (row,) = show(config, wanted)
    assert row["coin"] == "KITE"
    assert [moved["market_type"] for moved in row["analysis"]["overall"]["order"]] == ["futures", "spot"]
    assert [gap["reason"] for gap in row["analysis"]["gaps"]] == ["connection lost"]
    assert show(config, "NOSUCH") == []


def test_an_archive_that_was_removed_is_missing_and_can_be_made_again(config: Config) -> None:
    path = Path(replay(config, "KITE", ANNOUNCED_NS)["archive"])
    path.rename(path.with_name("elsewhere"))
    assert [(row["state"], row["analysis"]) for row in show(config, "KITE")] == [("missing", None)]
    replay(config, "KITE", ANNOUNCED_NS)
    assert [row["state"] for row in show(config, "KITE")] == ["written"]


def test_a_coin_that_was_never_stored_is_said_and_nothing_written(config: Config) -> None:
    with pytest.raises(PumpWatchError, match="nothing of NOSUCH is stored"):
        replay(config, "NOSUCH", ANNOUNCED_NS)
    with pytest.raises(UsageError):
        replay(config, "../KITE", ANNOUNCED_NS)
    assert not Path(config.listing.archive_dir).exists()


def test_a_folder_without_data_is_said_and_not_made(tmp_path: Path) -> None:
    nowhere = Config(store=StoreConfig(dir=str(tmp_path / "none")))
    with pytest.raises(PumpWatchError, match="no such data folder"):
        replay(nowhere, "KITE", ANNOUNCED_NS)
    assert show(nowhere) == []
    assert list(tmp_path.iterdir()) == []


def test_the_sights_of_a_listing_and_their_delays_are_shown(config: Config) -> None:
    ledger = Ledger(Path(config.store.dir))
    ledger.remember_listing(replace(KITE, source="upbit_markets", notice_id="KRW-KITE", exchange="upbit", kind="market_opened",
                                    detected_at_ns=KITE.detected_at_ns + 5040 * S))
    ledger.close()
    (row,) = show(config)
    assert (row["exchange"], row["kind"], row["delay_ms"]) == ("upbit", "notice", 3000.0)
    assert [(sight["source"], sight["kind"], sight["behind_ms"], sight["edits"]) for sight in row["sights"]] == [
        ("upbit", "notice", 0.0, 0), ("upbit_markets", "market_opened", 5_040_000.0, 0)]


def test_of_two_boards_the_nearest_is_replayed_into_an_archive_of_its_own(config: Config) -> None:
    ledger = Ledger(Path(config.store.dir))
    ledger.remember_listing(replace(KITE, source="bithumb", exchange="bithumb", announced_at_ns=ANNOUNCED_NS + S // 2))
    ledger.close()
    first = replay(config, "KITE", ANNOUNCED_NS)
    second = replay(config, "KITE", ANNOUNCED_NS + S // 2)
    assert [Path(made["archive"]).name for made in (first, second)] == [NAME, f"{NAME}_bithumb"]
    assert [made["listings"] for made in (first, second)] == [["upbit:6642"], ["bithumb:6642"]]
    assert [Path(row["archive"]).name for row in show(config)] == [NAME, f"{NAME}_bithumb"]
