"""Windows open, overlap, close and fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.listing.archive import read_analysis
from pumpwatch.listing.books import read_books
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.open_window import LOOKS_S, SETTLE_MAX_S, SETTLE_S
from pumpwatch.listing.window import NO_INSTRUMENT, TRIES
from pumpwatch.store.query import QueryResult
from tests.listing.market import ANNOUNCED_NS, listing_of
from tests.listing.window_desk import MARKET, Desk

S = NS_PER_S


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_the_archive_is_written_once_late_trades_are_durable(desk: Desk) -> None:
    desk.detect(listing_of())
    assert desk.sweeps == [True]
    assert desk.wait(19.9) == []
    assert desk.sweeps == [True]
    assert desk.wait(0.2) == []
    assert desk.sweeps == [True, False]  # the window is over, and only waits for what is on its way
    assert desk.wait(SETTLE_S) == ["KITE_20261103T060000Z"]
    assert desk.shelf.asked == [("KITE", ANNOUNCED_NS - 1202 * S, ANNOUNCED_NS + 23 * S)]  # also what was normal before
    (record,) = desk.ledger.listings()
    assert record.trades == len(desk.shelf.query("KITE", ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 23 * S).batch) > 1000
    assert Path(record.archive).is_dir()
    assert desk.published == [("KITE", "KITE_20261103T060000Z", record.trades)]
    assert desk.wait(100) == []


def test_a_crash_before_the_publication_leaves_the_listing_to_the_next_start(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    desk.detect(listing_of())
    desk.wait(20.1)
    monkeypatch.setattr(desk.publisher, "publish", crash)
    with pytest.raises(KeyboardInterrupt):
        desk.wait(SETTLE_S)
    (record,) = desk.ledger.listings()
    manifest = read_manifest(Path(record.archive))
    assert manifest is not None and (manifest.unpublished, desk.published) == (("shelf",), [])
    desk.start()
    desk.keeper.resume(3600)
    desk.wait(1)
    manifest = read_manifest(Path(record.archive))
    assert manifest is not None and (manifest.unpublished, len(desk.published)) == ((), 1)


def test_each_coin_of_a_notice_has_a_window_of_its_own(desk: Desk) -> None:
    desk.detect(listing_of("KITE"))
    desk.detect(listing_of("OTHER"))
    assert [window["coin"] for window in desk.keeper.open_windows()] == ["KITE", "OTHER"]
    assert sorted(desk.wait(30)) == ["KITE_20261103T060000Z", "OTHER_20261103T060000Z"]
    assert desk.sweeps == [True, False]


def test_overlapping_windows_of_one_coin_become_one_archive(desk: Desk) -> None:
    desk.detect(listing_of(notice_id="1"))
    desk.clock.advance(12)
    desk.detect(listing_of(notice_id="2", announced_ns=ANNOUNCED_NS + 12 * S))
    assert desk.wait(11) == []  # the first alone would have ended
    assert desk.wait(20) == ["KITE_20261103T060000Z"]
    assert desk.shelf.asked == [("KITE", ANNOUNCED_NS - 1202 * S, ANNOUNCED_NS + 35 * S)]
    assert len(read_analysis(desk.folder / "archives" / "KITE_20261103T060000Z")["listings"]) == 2
    assert [record.trades for record in desk.ledger.listings()] == [desk.published[0][2]] * 2


def test_the_same_coin_on_two_boards_has_two_archives_even_of_one_second(desk: Desk) -> None:
    upbit, bithumb = listing_of(), replace(listing_of(after_s=4), source="bithumb", exchange="bithumb")
    desk.detect(upbit)
    desk.detect(bithumb)
    assert [row["coin"] for row in desk.keeper.open_windows()] == ["KITE", "KITE"]
    assert desk.wait(60) == ["KITE_20261103T060000Z", "KITE_20261103T060000Z_bithumb"]
    assert {(record.listing.board, Path(record.archive).name, record.problem) for record in desk.ledger.listings()} == {
        ("upbit", "KITE_20261103T060000Z", ""), ("bithumb", "KITE_20261103T060000Z_bithumb", "")}
    counts = {(record.listing.board, (record.trades or 0) > 1000) for record in desk.ledger.listings()}
    assert counts == {("upbit", True), ("bithumb", True)}


def test_windows_of_one_coin_that_do_not_overlap_stay_apart(desk: Desk) -> None:
    desk.detect(listing_of(notice_id="1"))
    desk.detect(listing_of(notice_id="2", announced_ns=ANNOUNCED_NS + 60 * S))
    assert desk.wait(100) == ["KITE_20261103T060000Z", "KITE_20261103T060100Z"]


def test_a_coin_that_needs_the_body_is_recorded_and_marked(desk: Desk) -> None:
    desk.detect(listing_of(needs_body=True))
    (name,) = desk.wait(30)
    assert read_analysis(desk.folder / "archives" / name)["needs_body"] is True


def test_a_coin_that_no_venue_lists_is_looked_for_to_the_end_and_is_a_problem(
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
    assert (desk.published, desk.keeper.not_final(), desk.keeper.open_windows()) == ([], 0, [])
    assert "archive is empty coin=NOBODY" in caplog.text
    assert "archive written" not in caplog.text


def test_a_venue_whose_list_never_comes_holds_an_archive_up_for_a_minute_and_is_named(desk: Desk) -> None:
    desk.missing = ["beta.spot"]
    desk.detect(listing_of())
    assert [desk.wait(20), desk.wait(20), desk.wait(20)] == [[], [], ["KITE_20261103T060000Z"]]
    found = read_manifest(desk.folder / "archives" / "KITE_20261103T060000Z")
    assert found is not None
    assert found.problems == ("no instrument list yet from beta.spot",)


def test_an_archive_waits_for_the_venues_lag_and_for_trades_that_wait_for_the_disk(desk: Desk) -> None:
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
    assert [desk.wait(20), desk.wait(SETTLE_MAX_S - 1), desk.wait(1)] == [[], [], ["KITE_20261103T060000Z"]]


def test_late_trades_are_looked_for_and_after_the_last_look_the_archive_is_final(
        desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk.shelf.batch = MARKET.take(slice(0, 900))
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    path = desk.folder / "archives" / name
    assert [desk.wait(7), desk.wait(40)] == [[], []]
    desk.shelf.batch = MARKET.take(slice(0, 1000))
    assert [desk.wait(9), desk.wait(1)] == [[], [name]]
    desk.shelf.batch = MARKET
    assert [desk.wait(500), desk.wait(39)] == [[], []]
    assert (desk.keeper.not_final(), desk.keeper.open_windows()) == (1, [])
    assert desk.wait(1) == [name]
    found = read_manifest(path)
    assert found is not None
    assert (found.final, found.final_at_ns) == (True, ANNOUNCED_NS + 623 * S)
    counts = [count for _, _, count in desk.published]
    assert [(row.at_ns - ANNOUNCED_NS) // S - 23 for row in found.passes] == [3, 10, 60, 600]
    assert [row.trades for row in found.passes] == [counts[0], *counts] == sorted([counts[0], *counts])
    assert [row.added for row in found.passes] == [counts[0], 0, counts[1] - counts[0], counts[2] - counts[1]]
    assert desk.ledger.listings()[0].trades == counts[2] == read_analysis(path)["overall"]["trades"]
    assert desk.keeper.not_final() == 0
    assert "archive final coin=KITE" in caplog.text
    assert desk.wait(10_000) == []


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
    assert desk.keeper.not_final() == 0


def test_a_late_listing_is_archived_and_marked_without_quick_reading(desk: Desk) -> None:
    desk.detect(listing_of(after_s=900, announced_ns=ANNOUNCED_NS - 900 * S))
    assert desk.sweeps == []
    (name,) = desk.wait(24)
    found = read_manifest(desk.folder / "archives" / name)
    assert found is not None
    assert found.late is True
    assert read_analysis(desk.folder / "archives" / name)["late"] is True


def test_a_notice_dated_ahead_has_its_sockets_read_quickly_only_around_its_times(desk: Desk) -> None:
    desk.detect(listing_of(after_s=-3000, announced_ns=ANNOUNCED_NS + 3003 * S))
    assert desk.sweeps == [True]
    for _ in range(300):
        desk.wait(10)
    assert desk.sweeps == [True, False, True]
    for _ in range(5):
        desk.wait(10)
    assert desk.sweeps == [True, False, True, False]


@pytest.mark.parametrize("days", [-5, 5])
def test_a_window_ends_by_real_time_whatever_the_wall_clock_does(desk: Desk, days: int) -> None:
    desk.detect(listing_of())
    desk.wait(5)
    desk.clock.step(days * 86400)
    assert desk.wait(14.9) == []
    assert desk.sweeps == [True]
    assert desk.wait(SETTLE_S + 0.2) == ["KITE_20261103T060000Z"]
    assert desk.sweeps == [True, False]


def test_a_window_that_fails_affects_no_other(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def query(coin: str, start_ns: int, end_ns: int) -> QueryResult:
        if coin == "KITE":
            raise ZeroDivisionError
        return desk.shelf.query(coin, start_ns, end_ns)

    desk.start(query=query)
    desk.detect(listing_of("KITE"))
    desk.detect(listing_of("OTHER"))
    assert desk.wait(23) == ["OTHER_20261103T060000Z"]
    for _ in range(10):
        desk.wait(11)
    assert desk.keeper.open_windows() == []
    assert {record.listing.symbol: record.problem for record in desk.ledger.listings()} == {
        "OTHER": "", "KITE": "failed: ZeroDivisionError: "}
    assert sum("window failed" in record.message for record in caplog.records) == 1


def test_a_store_that_fails_is_queried_again_and_logged_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.shelf.trouble = [StorageError("the disk is full"), ServiceUnavailable("nobody there"), StorageError("again")]
    desk.detect(listing_of())
    assert [desk.wait(30), desk.wait(5), desk.wait(6), desk.wait(10)] == [[], [], [], []]
    assert desk.wait(10) == ["KITE_20261103T060000Z"]
    assert sum("archive waits" in record.message for record in caplog.records) == 1


def test_an_incomplete_answer_is_written_and_written_again_when_it_is_complete(
        desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.shelf.incomplete = 3
    desk.detect(listing_of())
    assert desk.wait(30) == ["KITE_20261103T060000Z"]
    assert [desk.wait(11), desk.wait(11)] == [[], []]
    assert desk.wait(11) == ["KITE_20261103T060000Z"]
    (_, _, half), (_, _, whole) = desk.published
    assert 0 < half < whole
    assert desk.ledger.listings()[0].trades == whole
    assert desk.keeper.open_windows() == []
    assert sum("may be incomplete" in record.message for record in caplog.records) == 1


def test_a_store_that_stays_incomplete_is_not_queried_forever(desk: Desk) -> None:
    desk.shelf.incomplete = 99
    desk.detect(listing_of())
    for _ in range(20):
        desk.wait(11)
    asked = len(desk.shelf.asked)
    assert TRIES <= asked <= TRIES + len(LOOKS_S)
    desk.wait(600)
    desk.wait(600)
    assert (len(desk.shelf.asked), desk.keeper.not_final()) == (asked + 1, 0)
    (name,) = [path.name for path in (desk.folder / "archives").iterdir()]
    manifest = read_manifest(desk.folder / "archives" / name)
    assert manifest is not None and manifest.parts[0]["problem"] == "a page is damaged"
    assert {row.state for row in manifest.venues if row.symbols} == {"incomplete"}


def test_a_listing_that_joins_while_the_archive_is_written_is_not_forgotten(desk: Desk) -> None:
    second = listing_of(notice_id="2", announced_ns=ANNOUNCED_NS + 20 * S)

    def query_slowly(coin: str, start_ns: int, end_ns: int) -> QueryResult:
        if len(desk.shelf.asked) == 0:
            desk.detect(second)
        return desk.shelf.query(coin, start_ns, end_ns)

    desk.start(query=query_slowly)
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


def test_the_coin_of_an_open_window_is_doubled_until_its_trades_should_be_stored(desk: Desk) -> None:
    desk.detect(listing_of())
    assert desk.doubles == ["+KITE"]
    desk.wait(19.9)
    desk.wait(0.2)
    assert desk.doubles == ["+KITE"]
    desk.wait(SETTLE_S)
    assert desk.doubles == ["+KITE", "-KITE"]


def test_order_books_are_recorded_while_a_window_is_open_and_forgotten_when_its_archive_is_final(desk: Desk) -> None:
    desk.detect(listing_of())
    assert (desk.books.told, desk.books.kept) == (["+KITE"], {"KITE"})
    (name,) = desk.wait(20 + SETTLE_S)
    assert (desk.books.told, desk.books.kept) == (["+KITE", "-KITE"], {"KITE"})
    assert [len(books.snapshots) for books in read_books(desk.folder / "archives" / name)] == [1]
    desk.wait(60)
    desk.wait(600)
    assert desk.keeper.coins() == []
    assert desk.books.kept == set()


def test_order_books_are_recorded_for_a_drill_as_for_a_listing(desk: Desk) -> None:
    desk.detect(replace(listing_of(), drill=True))
    assert desk.books.told == ["+KITE"]
    (name,) = desk.wait(20 + SETTLE_S)
    assert name.startswith("DRILL-")
    assert [len(books.snapshots) for books in read_books(desk.folder / "archives" / name)] == [1]


def test_each_listing_is_told_once_when_its_archive_is_first_written(desk: Desk) -> None:
    told: list[tuple[str, str, int]] = []
    desk.written = lambda listing, archive, problems: told.append((listing.notice_id, archive.path.name, archive.trades))
    desk.start()
    desk.detect(listing_of())
    desk.detect(replace(listing_of(notice_id="7"), drill=True))
    desk.wait(20.1 + SETTLE_S)
    assert sorted(name for _, name, _ in told) == ["DRILL-KITE_20261103T060000Z", "KITE_20261103T060000Z"]
    desk.wait(100)
    desk.wait(700)
    assert len(told) == 2
