"""Longer windows complete the archive that the short one has made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import trades_in
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.books import read_books
from pumpwatch.listing.context import Reach
from pumpwatch.listing.manifest import ArchiveManifest, read_manifest
from pumpwatch.model import SPOT, Gap, GapState, Instrument, TradeBatch
from pumpwatch.store.evidence import EDITED, Evidence
from tests.listing.market import ANNOUNCED_NS, listing_of, trades
from tests.listing.window_desk import Desk
from tests.small_disk import fill, small_disk

S = NS_PER_S
NAME = "KITE_20261103T060000Z"
SHORT_S, LONG_S = (-20, 23), (-300, 1803)
RATE = 2.0
EVERY = TradeBatch.concat([trades(0, jump_ms=400, rate=RATE, from_s=-1200, to_s=3000),
                           trades(2, jump_ms=900, rate=RATE, from_s=-1200, to_s=3000)])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.shelf.batch = EVERY
    made.reaches = [Reach(), Reach(300, 1800)]
    made.start()
    yield made
    made.ledger.close()


def manifest_of(desk: Desk) -> ArchiveManifest:
    found = read_manifest(desk.folder / "archives" / NAME)
    assert found is not None
    return found


def window_s(desk: Desk) -> list[tuple[float, float]]:
    """Return the window of the archive in s from the announcement, after a look at every file."""
    assert check_archive(desk.folder / "archives" / NAME).faults == ()
    return [((start - ANNOUNCED_NS) / S, (end - ANNOUNCED_NS) / S) for start, end in manifest_of(desk).window]


def traded(from_s: float, to_s: float) -> int:
    times = (EVERY.timestamp - ANNOUNCED_NS) / S
    return int(((times >= from_s) & (times < to_s)).sum())


def test_the_short_archive_comes_at_its_end_and_the_longer_window_completes_it(desk: Desk) -> None:
    desk.detect(listing_of())
    assert desk.wait(21) == [NAME]
    assert (window_s(desk), manifest_of(desk).trades, manifest_of(desk).final) == ([SHORT_S], traded(*SHORT_S), False)
    assert [desk.wait(100), desk.wait(1678), desk.keeper.not_final()] == [[], [], 1]
    assert desk.wait(2) == [NAME]
    assert (window_s(desk), manifest_of(desk).trades) == ([LONG_S], traded(*LONG_S))
    assert [count for _, _, count in desk.published] == [traded(*SHORT_S), traded(*LONG_S)]
    assert [desk.wait(60), desk.wait(600)] == [[], []]
    assert (manifest_of(desk).final, desk.keeper.not_final()) == (True, 0)
    assert desk.ledger.listings()[0].trades == traded(*LONG_S)


def test_sockets_are_read_quickly_in_the_short_window_and_twice_in_the_longer_one(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    assert (desk.sweeps, desk.doubles) == ([True, False], ["+KITE"])
    desk.wait(1778)
    assert desk.doubles == ["+KITE"]
    desk.wait(2)
    assert desk.doubles == ["+KITE", "-KITE"]


def test_order_books_are_recorded_to_the_end_of_the_longest_window_and_its_archive_has_those_of_the_short_one(desk: Desk) -> None:
    desk.detect(listing_of())
    for wait_s, told, from_s in ((21, ["+KITE"], [-20]), (1778, ["+KITE"], [-20]), (2, ["+KITE", "-KITE"], [-300, -20])):
        desk.wait(wait_s)
        (books,) = read_books(desk.folder / "archives" / NAME)
        assert (desk.books.told, desk.books.kept) == (told, {"KITE"})
        assert [(snapshot.asked_at_ns - ANNOUNCED_NS) / S for snapshot in books.snapshots] == from_s
    desk.wait(60)
    desk.wait(600)
    assert desk.books.kept == set()


def test_any_number_of_longer_windows_follow_each_other(desk: Desk) -> None:
    desk.reaches = [Reach(), Reach(30, 60), Reach(60, 120), Reach(300, 1800)]
    desk.start()
    desk.detect(listing_of())
    seen = [(desk.wait(wait), window_s(desk)) for wait in (21, 40, 60, 1680)]
    assert seen == [([NAME], [span]) for span in (SHORT_S, (-30, 63), (-60, 123), LONG_S)]


def test_a_publication_that_was_seen_late_has_both_windows_around_both_times(desk: Desk) -> None:
    desk.reaches = [Reach(), Reach(20, 100)]
    desk.clock.advance(297)
    desk.start()
    desk.detect(listing_of(after_s=300))
    desk.wait(21)
    assert window_s(desk) == [(-20, 20), (280, 320)]
    desk.wait(80)
    assert window_s(desk) == [(-20, 100), (280, 400)]


def test_a_kill_in_the_longer_window_leaves_the_short_archive_which_is_completed_after_the_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    desk.clock.advance(700)  # nothing of the keeper runs any more
    assert window_s(desk) == [SHORT_S]
    desk.start()
    assert desk.keeper.resume(7200) == 1
    desk.wait(1)
    assert (window_s(desk), desk.doubles[-1]) == ([SHORT_S], "+KITE")
    assert [desk.wait(1077), desk.wait(2)] == [[], [NAME]]
    assert window_s(desk) == [LONG_S]


def test_a_longer_window_that_ended_while_nothing_ran_completes_the_archive_at_the_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    desk.clock.advance(3000)
    desk.start()
    assert desk.keeper.resume(7200) == 1
    assert desk.wait(0) == [NAME]
    assert (window_s(desk), manifest_of(desk).final) == ([LONG_S], True)
    desk.start()
    assert desk.keeper.resume(7200) == 0


def test_a_crash_between_the_renamings_is_repaired_at_the_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    archives = desk.folder / "archives"
    (archives / NAME).rename(archives / f".{NAME}.replaced")
    (archives / f".{NAME}.999999999.partial").mkdir()
    desk.start()
    assert desk.keeper.resume(7200) == 1
    assert (window_s(desk), [path.name for path in archives.iterdir()]) == ([SHORT_S], [NAME])
    desk.wait(1780)
    assert window_s(desk) == [LONG_S]


def test_a_disk_that_fails_while_the_archive_is_completed_leaves_the_short_one_until_it_works(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    desk.shelf.trouble = [StorageError("the disk is full")] * 3
    assert [desk.wait(wait) for wait in (1780, 11, 11)] == [[], [], []]
    assert (window_s(desk), manifest_of(desk).final) == ([SHORT_S], False)
    assert desk.wait(11) == [NAME]
    assert window_s(desk) == [LONG_S]


def test_a_disk_that_fills_has_the_archive_completed_when_there_is_room(desk: Desk, tmp_path: Path) -> None:
    with small_disk(tmp_path / "archives", 4) as problem:
        if problem:
            pytest.skip(problem)
        desk.detect(listing_of())
        desk.wait(21)
        ballast = fill(tmp_path / "archives")
        assert [desk.wait(1780), desk.wait(11)] == [[], []]
        assert window_s(desk) == [SHORT_S]
        ballast.unlink()
        assert desk.wait(11) == [NAME]
        assert window_s(desk) == [LONG_S]
        assert [path.name for path in (tmp_path / "archives").iterdir()] == [NAME]


def test_a_gap_makes_the_archives_incomplete_until_it_is_filled(desk: Desk) -> None:
    gap = Gap(exchange="beta", market_type=SPOT, from_ns=ANNOUNCED_NS + 5 * S, to_ns=ANNOUNCED_NS + 9 * S,
              reason="connection lost")
    filling = (EVERY.instrument == 2) & (EVERY.timestamp >= gap.from_ns) & (EVERY.timestamp < gap.to_ns)
    desk.shelf.batch, desk.gaps = EVERY.take(~filling), [gap]
    desk.detect(listing_of())
    desk.wait(21)
    states = {f"{row.exchange}.{row.market_type}": row for row in manifest_of(desk).venues}
    assert {name: row.state for name, row in states.items()} == {
        "alpha.spot": "traded", "alpha.futures": "no trade", "beta.spot": "incomplete", "gamma.spot": "not listed"}
    (missing,) = states["beta.spot"].missing
    assert (missing.from_ns, missing.to_ns, missing.reason) == (gap.from_ns, gap.to_ns, "connection lost")
    desk.shelf.batch, desk.gaps = EVERY, [replace(gap, state=GapState.FILLED)]
    assert desk.wait(1780) == [NAME]
    assert {row.state for row in manifest_of(desk).venues} == {"traded", "no trade", "not listed"}
    assert trades_in(desk.folder / "archives" / NAME) == traded(*LONG_S)


def test_a_gap_that_loses_nothing_more_changes_the_archive_at_the_next_look_all_the_same(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    desk.gaps = [Gap(exchange="alpha", market_type=SPOT, from_ns=ANNOUNCED_NS, to_ns=ANNOUNCED_NS + S, reason="noticed late")]
    desk.wait(10)
    assert [row.state for row in manifest_of(desk).venues if row.trades] == ["incomplete", "traded"]


def test_a_look_that_finds_nothing_new_leaves_the_files_in_place(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    before = (desk.folder / "archives" / NAME / "chart.html").stat()
    desk.wait(60)
    assert len(manifest_of(desk).passes) == 2
    assert (desk.folder / "archives" / NAME / "chart.html").stat() == before


def test_a_look_after_a_notice_was_edited_writes_the_archive_anew(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.wait(21)
    notice_file = desk.folder / "archives" / NAME / "notice.json"
    assert [sight["shown"] for sight in json.loads(notice_file.read_bytes())["sights"]] == [[]]
    desk.ledger.keep_evidence([Evidence("upbit", listing_of().notice_id, desk.clock.now_ns(), EDITED, {"raw": "row"})])
    desk.wait(60)
    (sight,) = json.loads(notice_file.read_bytes())["sights"]
    assert [(shown["event"], shown["raw"]) for shown in sight["shown"]] == [("edited", "row")]
    assert check_archive(notice_file.parent).faults == ()


def test_forty_coins_of_one_notice_have_an_archive_each_of_both_windows(desk: Desk) -> None:
    catalogue = desk.shelf.catalogue = Catalogue()
    ids = {f"KITE{number}": number for number in range(40)}
    for coin in ids:
        catalogue.add(("delta", SPOT), Instrument(symbol=f"{coin}USDT", base=coin, quote="USDT"))
    desk.shelf.batch = TradeBatch.concat([
        trades(number, jump_ms=None, rate=RATE, from_s=-300, to_s=1900) for number in ids.values()])
    desk.start(catalogue=catalogue)
    for coin in ids:
        desk.detect(listing_of(coin))
    assert sorted(desk.wait(21)) == sorted(f"{coin}_20261103T060000Z" for coin in ids)
    assert len(desk.wait(1780)) == 40
    counts = {record.listing.symbol: record.trades for record in desk.ledger.listings()}
    times = (desk.shelf.batch.timestamp - ANNOUNCED_NS) / S
    inside = (times >= LONG_S[0]) & (times < LONG_S[1])
    assert counts == {coin: int((inside & (desk.shelf.batch.instrument == number)).sum()) for coin, number in ids.items()}


def test_while_the_disk_is_full_no_archive_is_written_and_afterwards_it_is_whole(desk: Desk) -> None:
    desk.paused = True
    desk.detect(listing_of())
    assert desk.wait(60) == [] and not (desk.folder / "archives").exists()
    desk.paused = False
    assert desk.wait(1) == [NAME]
    assert manifest_of(desk).trades == traded(*SHORT_S)


def test_other_windows_count_for_the_listings_that_follow(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.keeper.change_reaches([Reach()])
    desk.wait(30)
    desk.wait(1900)
    assert window_s(desk)[0][1] > SHORT_S[1], "an open window keeps its own"
    desk.keeper.stop()
