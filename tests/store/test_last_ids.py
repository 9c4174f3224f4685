"""The next run goes on with the ids that this one went by: the newest of each symbol, whatever ids mean on its venue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import IdKind, TradeBatch
from pumpwatch.pipeline.dedupe import Dedupe
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.last_ids import LastIds
from tests.trades import batch_of, catalogue_of

START_NS = 1_790_000_000 * NS_PER_S
NAME = ("binance", "spot", "C0USDT")


def trades(*rows: tuple[int, float], instrument: int = 0) -> TradeBatch:
    """Return trades of one instrument: (id, seconds after the start)."""
    batch = batch_of(len(rows), instruments=1, start_ns=START_NS)
    batch.trade_id[:] = [row[0] for row in rows]
    batch.timestamp[:] = [START_NS + int(row[1] * NS_PER_S) for row in rows]
    batch.received_at[:] = batch.timestamp
    batch.instrument[:] = instrument
    return batch


def last_id_after(*batches: TradeBatch) -> int:
    last_ids = LastIds(catalogue_of())
    for batch in batches:
        last_ids.record(batch)
    return last_ids.by_name()[NAME][0]


@pytest.mark.parametrize(("batches", "last"), [
    ([trades((7, 0), (8, 1), (9, 2))], 9),
    ([trades((7, 0), (9, 1), (8, 1))], 9),  # a late one of two connections
    ([trades((9, 10)), trades((8, 9))], 9),
    ([trades((1000, 0)), trades((3, 60))], 3),  # ids start anew
    ([trades((1000, 0), (3, 60), (4, 60))], 4),
    ([trades((1000, 0), (3, 60)), trades((4, 120)), trades((5, 180))], 5),
    ([trades((1000, 0)), trades((3, 60), (1001, 1))], 1001),  # dedupe holds the same
    ([trades((1000, 0)), trades((1001, -3600))], 1001),  # reported late
    ([trades((-1, 0), (-1, 60))], -1),  # ids that are text
])
def test_the_last_id_is_the_highest_until_ids_start_anew(batches: Sequence[TradeBatch], last: int) -> None:
    assert last_id_after(*batches) == last


@pytest.mark.parametrize(("recorded", "late", "last"), [
    ((9, 60), (7, 0), 9),
    ((3, 60), (1000, 0), 3),  # the venue reset its ids in between
    ((8, 1), (9, 0), 9),  # a late one
    ((1000, 0), (3, 60), 3),
])
def test_of_a_file_that_is_read_late_the_newer_last_id_counts(recorded: tuple[int, float], late: tuple[int, float],
                                                              last: int) -> None:
    last_ids = LastIds(catalogue_of())
    last_ids.record(trades(recorded))
    unknown = ("binance", "spot", "GONEUSDT")
    last_ids.merge({NAME: (late[0], START_NS + int(late[1] * NS_PER_S)), unknown: (5, START_NS)})
    assert last_ids.by_name()[NAME][0] == last and last_ids.by_name()[unknown] == (5, START_NS)


def test_it_is_what_the_running_dedupe_goes_by() -> None:
    draw = np.random.default_rng(7)
    for kind in (IdKind.CONTIGUOUS, IdKind.MONOTONIC):
        dedupe = Dedupe(catalogue_of(), lambda *venue, kind=kind: kind)
        dedupe.continue_after({NAME: (99_999, START_NS - NS_PER_S)})
        last_ids = LastIds(catalogue_of(), {NAME: (99_999, START_NS - NS_PER_S)})
        top, at_s = 100_000, 0.0
        for _ in range(300):
            if draw.random() < 0.1:
                top, at_s = int(draw.integers(1, top)), at_s + 20
            at_s += float(draw.choice((0.1, 1.0, 20.0)))
            rows = [(top + number, at_s + number / 100) for number in range(int(draw.integers(1, 5)))]
            top = rows[-1][0] + 1
            batch = trades(*rows)
            seen = dedupe.observe(batch)
            last_ids.record(batch if seen.keep is None else batch.take(seen.keep))
            assert last_ids.of(0)[0] == dedupe.last_ids(np.array([0], np.int32))[0]


def run_of(folder: Path, clock: FakeClock) -> tuple[Journal, Dedupe]:
    catalogue = Catalogue()
    journal = Journal(folder, catalogue, clock, Stats())
    recovery = journal.open()
    for number, venue in enumerate(catalogue_of().venues):
        catalogue.add(venue, catalogue_of().instruments[number])
    dedupe = Dedupe(catalogue, lambda *venue: IdKind.CONTIGUOUS)
    dedupe.continue_after(recovery.last_ids)
    return journal, dedupe


def end(journal: Journal, how: str) -> None:
    if how == "closed":
        journal.close()
    else:
        journal._release()


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_after_ids_started_anew_a_restart_drops_nothing_and_finds_no_gap(tmp_path: Path, how: str) -> None:
    clock = FakeClock(START_NS)
    journal, dedupe = run_of(tmp_path, clock)
    for batch in (trades((1000, 0), (1001, 1)), trades((1, 60), (2, 61))):
        assert dedupe.observe(batch).keep is None
        journal.commit(batch)
    end(journal, how)
    journal, dedupe = run_of(tmp_path, clock)
    seen = dedupe.observe(trades((3, 62), (4, 63)))
    assert seen.keep is None
    assert seen.gaps == []
    assert dedupe.observe(trades((3, 62))).keep is not None, "what is sent again is dropped"
    journal.close()


@pytest.mark.parametrize("how", ["closed", "killed", "killed soon"])
def test_an_id_that_a_void_row_used_up_is_not_missed_after_a_restart(tmp_path: Path, how: str) -> None:
    clock = FakeClock(START_NS)
    journal, dedupe = run_of(tmp_path, clock)
    if how == "killed":
        journal.commit(trades((98, 0), (99, 0.1)))  # the last ids are stored now, and not again within a minute
    journal.pass_over([(0, 101, START_NS + 1 * NS_PER_S)])
    journal.commit(trades((100, 1)))
    end(journal, how)
    for _ in range(2):
        journal, dedupe = run_of(tmp_path, clock)
        end(journal, how)
    journal, dedupe = run_of(tmp_path, clock)
    seen = dedupe.observe(trades((102, 2)))
    assert (seen.keep, seen.gaps) == (None, [])
    journal.close()


def test_a_void_row_alone_is_stored_by_upkeep(tmp_path: Path) -> None:
    clock = FakeClock(START_NS)
    journal, dedupe = run_of(tmp_path, clock)
    journal.commit(trades((100, 1)))
    journal.pass_over([(0, 101, START_NS + 2 * NS_PER_S)])
    clock.advance(10)
    journal.maintain()
    end(journal, "killed")
    journal, dedupe = run_of(tmp_path, clock)
    assert dedupe.observe(trades((102, 3))).gaps == []
    journal.close()


def test_a_void_id_from_before_ids_started_anew_does_not_count(tmp_path: Path) -> None:
    clock = FakeClock(START_NS)
    journal, dedupe = run_of(tmp_path, clock)
    journal.commit(trades((99, 0)))
    journal.pass_over([(0, 101, START_NS + 1 * NS_PER_S)])
    journal.commit(trades((100, 1)))
    journal.commit(trades((3, 60)))
    end(journal, "killed")
    journal, dedupe = run_of(tmp_path, clock)
    assert dedupe.observe(trades((4, 61))).gaps == []
    journal.close()
