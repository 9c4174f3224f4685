"""Windows open, meet, close, fail, and are taken up again after a restart."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.listing.archive import read_analysis
from pumpwatch.listing.window import SETTLE_S, TRIES, WindowKeeper, intervals_of
from pumpwatch.model import Listing, TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.listing.market import ANNOUNCED_NS, Shelf, catalogue_of_venues, listing_of, trades

S = NS_PER_S
CATALOGUE = catalogue_of_venues()
MARKET = TradeBatch.concat([trades(0, jump_ms=400), trades(1, jump_ms=250),
                            trades(3, jump_ms=None, from_s=-60, to_s=90)])


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(ANNOUNCED_NS + 3 * S)
        self.shelf = Shelf(MARKET, CATALOGUE)
        self.sweeps: list[bool] = []
        self.published: list[tuple[str, str, int]] = []
        self.ledger = Ledger(folder)
        self.start()

    def start(self, clock: Clock | None = None) -> None:
        self.keeper = WindowKeeper(self.shelf.query, CATALOGUE, self.ledger, clock or self.clock, Stats(),
                                   self.folder / "archives", sweep=self.sweeps.append, publish=self.publish)

    def publish(self, listing: Listing, archive: str, count: int) -> None:
        self.published.append((listing.symbol, Path(archive).name, count))

    def detect(self, listing: Listing) -> None:
        assert self.ledger.remember_listing(listing)
        self.keeper.open(listing)

    def wait(self, seconds: float) -> list[str]:
        self.clock.advance(seconds)
        return [archive.path.name for archive in self.keeper.tick()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_a_window_is_20_s_around_announcement_and_detection() -> None:
    assert intervals_of([listing_of(after_s=3)], 20) == [(ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 23 * S)]
    assert intervals_of([listing_of(after_s=300)], 20) == [
        (ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 20 * S), (ANNOUNCED_NS + 280 * S, ANNOUNCED_NS + 320 * S)]


def test_the_archive_is_written_once_late_trades_are_durable(desk: Desk) -> None:
    desk.detect(listing_of())
    assert desk.sweeps == [True]
    assert desk.wait(19.9) == []
    assert desk.sweeps == [True]
    assert desk.wait(0.2) == []
    assert desk.sweeps == [True, False]  # the window is over, and only waits for what is on its way
    assert desk.wait(SETTLE_S) == ["KITE_20261103T060000Z"]
    assert desk.shelf.asked == [("KITE", ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 23 * S)]
    (record,) = desk.ledger.listings()
    assert record.trades == len(desk.shelf.query(*desk.shelf.asked[0]).batch) > 1000
    assert Path(record.archive).is_dir()
    assert desk.published == [("KITE", "KITE_20261103T060000Z", record.trades)]
    assert desk.wait(100) == []


def test_each_coin_of_a_notice_has_a_window_of_its_own(desk: Desk) -> None:
    desk.detect(listing_of("KITE"))
    desk.detect(listing_of("OTHER"))
    assert [one["coin"] for one in desk.keeper.open_windows()] == ["KITE", "OTHER"]
    assert sorted(desk.wait(30)) == ["KITE_20261103T060000Z", "OTHER_20261103T060000Z"]
    assert desk.sweeps == [True, False]


def test_windows_of_one_coin_that_meet_become_one_archive(desk: Desk) -> None:
    desk.detect(listing_of(notice_id="1"))
    desk.clock.advance(12)
    desk.detect(listing_of(notice_id="2", announced_ns=ANNOUNCED_NS + 12 * S))
    assert desk.wait(11) == []  # the first alone would have ended
    assert desk.wait(20) == ["KITE_20261103T060000Z"]
    assert desk.shelf.asked == [("KITE", ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 35 * S)]
    assert len(read_analysis(desk.folder / "archives" / "KITE_20261103T060000Z")["listings"]) == 2
    assert [record.trades for record in desk.ledger.listings()] == [desk.published[0][2]] * 2


def test_windows_of_one_coin_that_do_not_meet_stay_apart(desk: Desk) -> None:
    desk.detect(listing_of(notice_id="1"))
    desk.detect(listing_of(notice_id="2", announced_ns=ANNOUNCED_NS + 60 * S))
    assert desk.wait(100) == ["KITE_20261103T060000Z", "KITE_20261103T060100Z"]


def test_a_coin_that_needs_the_body_is_recorded_and_marked(desk: Desk) -> None:
    desk.detect(listing_of(needs_body=True))
    (name,) = desk.wait(30)
    assert read_analysis(desk.folder / "archives" / name)["needs_body"] is True


def test_a_coin_that_no_venue_has_gets_an_archive_that_says_so(desk: Desk) -> None:
    desk.detect(listing_of("NOBODY"))
    (name,) = desk.wait(30)
    assert read_analysis(desk.folder / "archives" / name)["instruments"] == []


def test_a_store_that_refuses_is_asked_again_and_said_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.shelf.trouble = [StorageError("the disk is full"), ServiceUnavailable("nobody there"), StorageError("again")]
    desk.detect(listing_of())
    assert [desk.wait(30), desk.wait(5), desk.wait(6), desk.wait(10)] == [[], [], [], []]
    assert desk.wait(10) == ["KITE_20261103T060000Z"]
    assert sum("must wait" in record.message for record in caplog.records) == 1


def test_what_a_sick_store_gave_is_written_and_written_again_when_it_is_well(
        desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.shelf.sick = 3
    desk.detect(listing_of())
    assert desk.wait(30) == ["KITE_20261103T060000Z"]
    assert [desk.wait(11), desk.wait(11)] == [[], []]
    assert desk.wait(11) == ["KITE_20261103T060000Z"]
    (_, _, half), (_, _, whole) = desk.published
    assert half == whole // 2
    assert desk.ledger.listings()[0].trades == whole
    assert desk.keeper.open_windows() == []
    assert sum("may lack trades" in record.message for record in caplog.records) == 1


def test_a_store_that_stays_sick_is_not_asked_for_ever(desk: Desk) -> None:
    desk.shelf.sick = 99
    desk.detect(listing_of())
    for _ in range(20):
        desk.wait(11)
    assert len(desk.shelf.asked) == TRIES
    assert desk.keeper.open_windows() == []
    (name,) = [path.name for path in (desk.folder / "archives").iterdir()]
    assert read_analysis(desk.folder / "archives" / name)["parts"][0]["problem"] == "a page is damaged"


def test_a_window_open_at_the_stop_is_finished_after_the_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.clock.advance(5)
    desk.keeper.stop()
    assert desk.sweeps == [True, False]
    desk.clock.advance(600)
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 1
    assert desk.wait(0) == ["KITE_20261103T060000Z"]
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 0


def test_what_retention_has_taken_is_given_up_aloud(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.detect(listing_of())
    desk.clock.advance(7200)
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 0
    assert desk.ledger.listings(unfinished_only=True) == []
    assert "no longer be written" in caplog.text


def test_a_listing_that_joins_while_the_archive_is_written_is_not_forgotten(desk: Desk) -> None:
    second = listing_of(notice_id="2", announced_ns=ANNOUNCED_NS + 20 * S)

    def query_slowly(coin: str, start_ns: int, end_ns: int) -> object:
        if len(desk.shelf.asked) == 0:
            desk.detect(second)
        return desk.shelf.query(coin, start_ns, end_ns)

    desk.keeper = WindowKeeper(query_slowly, CATALOGUE, desk.ledger, desk.clock, Stats(),  # type: ignore[arg-type]
                               desk.folder / "archives")
    desk.detect(listing_of(notice_id="1"))
    assert desk.wait(26) == ["KITE_20261103T060000Z"]
    assert desk.wait(30) == ["KITE_20261103T060000Z"]
    assert len(read_analysis(desk.folder / "archives" / "KITE_20261103T060000Z")["listings"]) == 2
    assert desk.ledger.listings(unfinished_only=True) == []


def test_run_sleeps_until_there_is_something_to_do(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk.start(Clock())
    running = gevent.spawn(desk.keeper.run)
    gevent.sleep(0)
    desk.detect(listing_of())  # long ago by the real clock
    with gevent.Timeout(20):
        while not desk.published:
            gevent.sleep(0.01)
        desk.keeper.stop()
        running.join()
    assert running.successful()
    assert desk.keeper.open_windows() == []
