"""Windows open, meet, close, fail, and are taken up again after a restart."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.listing.archive import read_analysis
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.open_window import SETTLE_MOST_S, SETTLE_S, intervals_of
from pumpwatch.listing.window import NO_INSTRUMENT, TRIES, WindowKeeper
from pumpwatch.model import Listing, TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.listing.market import ANNOUNCED_NS, Given, Shelf, catalogue_of_venues, listing_of, trades

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
        self.behind = (0.0, 0.0)
        self.missing: list[str] = []
        self.start()

    def start(self, clock: Clock | None = None, catalogue: Catalogue = CATALOGUE) -> None:
        self.catalogue = catalogue
        self.keeper = WindowKeeper(self.shelf.query, catalogue, self.ledger, clock or self.clock, Stats(),
                                   self.folder / "archives", sweep=self.sweeps.append, publish=self.publish,
                                   behind=lambda coin: self.behind, unlisted=lambda: self.missing)

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


def test_a_coin_that_no_venue_has_is_looked_for_to_the_end_and_is_a_problem_not_an_answer(
        desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.detect(listing_of("NOBODY"))
    assert [desk.wait(30) for _ in range(20)] == [[]] * 20
    (record,) = desk.ledger.listings()
    assert (record.trades, record.archive) == (None, "")
    (name,) = desk.wait(30)
    (record,) = desk.ledger.listings()
    assert (record.trades, record.problem, record.archive.endswith(name)) == (0, NO_INSTRUMENT, True)
    found = read_manifest(Path(record.archive))
    assert found is not None
    assert (found.final, found.problems) == (True, (NO_INSTRUMENT,))
    assert (desk.published, desk.keeper.looked_at(), desk.keeper.open_windows()) == ([], 0, [])
    assert "no archive to rely on coin=NOBODY" in caplog.text
    assert "archive written" not in caplog.text


def test_an_archive_waits_for_the_instrument_lists_of_a_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.clock.advance(100)
    desk.start(catalogue=Catalogue())
    desk.missing = ["alpha.spot", "beta.spot"]
    assert desk.keeper.resume(retention_s=3600) == 1
    assert [desk.wait(5) for _ in range(6)] == [[]] * 6
    assert desk.ledger.listings(unfinished_only=True) != []
    for number, instrument in enumerate(CATALOGUE.instruments):
        desk.catalogue.add(CATALOGUE.venues[number], instrument)
    desk.missing = []
    assert desk.wait(10) == ["KITE_20261103T060000Z"]
    assert desk.published[0][2] > 1000


def test_a_venue_whose_list_never_comes_holds_an_archive_up_for_a_minute_and_is_named(desk: Desk) -> None:
    desk.missing = ["beta.spot"]
    desk.detect(listing_of())
    assert [desk.wait(20), desk.wait(20), desk.wait(20)] == [[], [], ["KITE_20261103T060000Z"]]
    found = read_manifest(desk.folder / "archives" / "KITE_20261103T060000Z")
    assert found is not None
    assert found.problems == ("no instrument list yet of beta.spot",)


def test_an_archive_waits_for_what_the_venues_lag_behind_and_for_what_the_disk_has_not_taken(desk: Desk) -> None:
    desk.behind = (10.0, 0.0)
    desk.detect(listing_of())
    assert desk.wait(20 + SETTLE_S + 9) == []
    desk.behind = (10.0, 5.0)
    assert desk.wait(2) == []
    desk.behind = (10.0, 0.1)
    assert desk.wait(1) == ["KITE_20261103T060000Z"]


def test_the_waiting_has_a_bound(desk: Desk) -> None:
    desk.behind = (3600.0, 3600.0)
    desk.detect(listing_of())
    assert [desk.wait(20), desk.wait(SETTLE_MOST_S - 1), desk.wait(1)] == [[], [], ["KITE_20261103T060000Z"]]


def test_late_trades_are_looked_for_after_one_and_ten_minutes_and_then_the_archive_is_final(
        desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk.shelf.batch = MARKET.take(slice(0, 900))
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    path = desk.folder / "archives" / name
    desk.shelf.batch = MARKET.take(slice(0, 1000))
    assert [desk.wait(50), desk.wait(7)] == [[], [name]]
    desk.shelf.batch = MARKET
    assert [desk.wait(500), desk.wait(39)] == [[], []]
    assert (desk.keeper.looked_at(), desk.keeper.open_windows()) == (1, [])
    assert desk.wait(1) == [name]
    found = read_manifest(path)
    assert found is not None
    assert (found.final, found.final_at_ns) == (True, ANNOUNCED_NS + 623 * S)
    counts = [count for _, _, count in desk.published]
    assert [(one.at_ns - ANNOUNCED_NS) // S - 23 for one in found.passes] == [3, 60, 600]
    assert [one.trades for one in found.passes] == counts == sorted(counts)
    assert [one.added for one in found.passes] == [counts[0], counts[1] - counts[0], counts[2] - counts[1]]
    assert desk.ledger.listings()[0].trades == counts[2] == read_analysis(path)["overall"]["trades"]
    assert desk.keeper.looked_at() == 0
    assert "archive final coin=KITE" in caplog.text
    assert desk.wait(10_000) == []


def test_what_was_written_and_is_not_final_is_looked_at_again_after_a_restart(desk: Desk) -> None:
    desk.shelf.batch = MARKET.take(slice(0, 900))
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    desk.keeper.stop()
    desk.clock.advance(10)
    desk.shelf.batch = MARKET
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 1
    assert [desk.wait(46), desk.wait(1)] == [[], [name]]
    desk.start()
    desk.clock.advance(3000)  # the last look falls into the time it was down
    assert desk.keeper.resume(retention_s=7200) == 1
    assert desk.wait(0) == []  # nothing came to it
    found = read_manifest(desk.folder / "archives" / name)
    assert found is not None
    assert (found.final, len(found.passes)) == (True, 3)
    desk.start()
    assert desk.keeper.resume(retention_s=7200) == 0


def test_a_look_after_a_restart_waits_for_the_instrument_lists(desk: Desk) -> None:
    desk.shelf.batch = MARKET.take(slice(0, 900))
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    desk.clock.advance(1000)
    desk.shelf.batch = MARKET
    desk.start(catalogue=Catalogue())
    desk.missing = ["alpha.spot"]
    assert desk.keeper.resume(retention_s=3600) == 1
    assert [desk.wait(5), desk.wait(5)] == [[], []]
    for number, instrument in enumerate(CATALOGUE.instruments):
        desk.catalogue.add(CATALOGUE.venues[number], instrument)
    desk.missing = []
    assert desk.wait(5) == [name]
    assert desk.keeper.looked_at() == 0


def test_an_archive_is_not_final_while_a_trade_of_its_window_waits_for_the_disk(desk: Desk) -> None:
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    desk.behind = (0.0, 900.0)
    desk.wait(700)
    found = read_manifest(desk.folder / "archives" / name)
    assert found is not None
    assert found.final is False
    desk.behind = (0.0, 0.1)
    desk.wait(11)
    assert desk.keeper.looked_at() == 0


def test_a_late_listing_is_archived_and_marked_and_no_reason_to_read_quickly(desk: Desk) -> None:
    desk.detect(listing_of(after_s=900, announced_ns=ANNOUNCED_NS - 900 * S))
    assert desk.sweeps == []
    (name,) = desk.wait(24)
    found = read_manifest(desk.folder / "archives" / name)
    assert found is not None
    assert found.late is True
    assert read_analysis(desk.folder / "archives" / name)["late"] is True


def test_a_notice_stamped_ahead_has_its_sockets_read_quickly_only_around_its_times(desk: Desk) -> None:
    desk.detect(listing_of(after_s=-3000, announced_ns=ANNOUNCED_NS + 3003 * S))
    assert desk.sweeps == [True]
    for _ in range(300):
        desk.wait(10)
    assert desk.sweeps == [True, False, True]
    for _ in range(5):
        desk.wait(10)
    assert desk.sweeps == [True, False, True, False]


class SteppedClock(FakeClock):
    """A clock whose wall time somebody sets."""

    step_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.step_ns


@pytest.mark.parametrize("days", [-5, 5])
def test_a_window_ends_by_real_time_whatever_the_wall_clock_does(desk: Desk, days: int) -> None:
    desk.clock = clock = SteppedClock(ANNOUNCED_NS + 3 * S)
    desk.start()
    desk.detect(listing_of())
    desk.wait(5)
    clock.step_ns = days * 86400 * S
    assert desk.wait(14.9) == []
    assert desk.sweeps == [True]
    assert desk.wait(SETTLE_S + 0.2) == ["KITE_20261103T060000Z"]
    assert desk.sweeps == [True, False]


def test_a_clock_that_stepped_back_before_a_restart_keeps_no_window_open_for_days(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.clock.advance(-5 * 86400)
    desk.start()
    desk.sweeps.clear()
    assert desk.keeper.resume(retention_s=3600) == 1
    assert desk.wait(30) == ["KITE_20261103T060000Z"]
    assert desk.sweeps == []


@pytest.mark.parametrize("fields", [{"symbol": "../../x"}, {"announced_at_ns": 2**62}, {"announced_at_ns": 0}])
def test_a_listing_that_an_older_version_let_pass_opens_no_window(desk: Desk, fields: dict[str, Any]) -> None:
    assert desk.ledger.remember_listing(replace(listing_of(), **fields))
    assert desk.ledger.remember_listing(listing_of("OTHER"))
    assert desk.keeper.resume(retention_s=2**40) == 1
    assert desk.wait(60) == ["OTHER_20261103T060000Z"]
    assert [path.name for path in (desk.folder / "archives").iterdir()] == ["OTHER_20261103T060000Z"]
    assert sorted(record.problem[:12] for record in desk.ledger.listings()) == ["", "not opened: "]


def test_a_window_that_fails_costs_no_other(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.shelf.trouble = [ZeroDivisionError()] * TRIES  # the first that asks is KITE's
    desk.detect(listing_of("KITE"))
    desk.detect(listing_of("OTHER"))
    query = desk.shelf.query
    desk.shelf.query = lambda coin, start, end: query(coin, start, end) if coin == "KITE" else given(desk, start, end)  # type: ignore[method-assign,assignment]
    desk.start()
    desk.keeper.resume(retention_s=3600)
    assert desk.wait(23) == ["OTHER_20261103T060000Z"]
    for _ in range(10):
        desk.wait(11)
    assert desk.keeper.open_windows() == []
    assert {record.listing.symbol: record.problem for record in desk.ledger.listings()} == {
        "OTHER": "", "KITE": "failed: ZeroDivisionError: "}
    assert sum("a window failed" in record.message for record in caplog.records) == 1


def given(desk: Desk, start_ns: int, end_ns: int) -> Given:
    rows = (MARKET.instrument == 3) & (MARKET.timestamp >= start_ns) & (MARKET.timestamp < end_ns)
    return Given(MARKET.take(rows), [])


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
    desk.wait(600)
    desk.wait(600)
    assert (len(desk.shelf.asked), desk.keeper.looked_at()) == (TRIES + 1, 0)
    (name,) = [path.name for path in (desk.folder / "archives").iterdir()]
    assert read_analysis(desk.folder / "archives" / name)["parts"][0]["problem"] == "a page is damaged"


def test_a_window_open_at_the_stop_is_finished_after_the_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.clock.advance(5)
    desk.keeper.stop()
    assert desk.sweeps == [True, False]
    desk.clock.advance(700)
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
