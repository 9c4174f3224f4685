"""A query takes each trade once, in order, from the nearest place that holds it, and says where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.query import find, merged
from pumpwatch.store.query_figures import QueryFigures
from pumpwatch.store.recent import Recent
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
START = 1_700_000_000 * NS_PER_S
TRADES = batch_of(1_000, start_ns=START, step_ns=NS_PER_S // 100)  # ten seconds
END = START + 10 * NS_PER_S


class Place:
    """Holds trades from a time on; `asked` is the ranges it was asked for."""

    def __init__(self, from_ns: int = 0, problem: Exception | None = None) -> None:
        self.covers_from_ns = from_ns
        self.asked: list[tuple[int, int]] = []
        self.spans: list[tuple[int, int]] = []
        self._problem = problem

    def __call__(self, names: Sequence[Any], start_ns: int, end_ns: int) -> TradeBatch:
        self.asked.append((start_ns, end_ns))
        if self._problem:
            raise self._problem
        rows = (TRADES.timestamp >= max(start_ns, self.covers_from_ns)) & (TRADES.timestamp < end_ns)
        rows &= np.isin(TRADES.instrument, [CATALOGUE.ids_of(name[:2])[name[2]] for name in names])
        return TRADES.take(np.flatnonzero(rows)[::-1])

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        return self(CATALOGUE.names(ids), start_ns, end_ns)

    def elsewhere(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        parts = [(start_ns, min(end_ns, self.covers_from_ns)), *self.spans]
        return [(first, end) for first, end in parts if first < end]

    def read(self, names: Sequence[Any], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        return self(names, start_ns, end_ns)


def test_a_query_is_counted_with_the_places_that_answered_and_the_segments_that_were_read() -> None:
    figures, recent, journal = QueryFigures(0.0), Place(START + 5 * NS_PER_S), Place()
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal, figures=figures,
                 segments=lambda first_ns, last_ns: (last_ns - first_ns) // NS_PER_S)
    assert [(part.source, part.detail) for part in found.parts] == [("recent", ""), ("journal", "of 5 segments")]
    find("C1", END - NS_PER_S, END, catalogue=CATALOGUE, recent=recent, journal_query=journal, figures=figures)
    find("C1", START, END, catalogue=CATALOGUE, journal_query=Place(problem=StorageError("locked")), figures=figures)
    counted = figures.figures()
    assert (counted["total"], counted["failed"], counted["memory_ratio"]) == (3, 1, 0.3333)
    assert counted["seconds"] > 0


def test_a_query_that_ends_with_an_error_has_failed() -> None:
    figures = QueryFigures(0.0)
    with pytest.raises(ZeroDivisionError):
        find("C1", START, END, catalogue=CATALOGUE, journal_query=Place(problem=ZeroDivisionError()), figures=figures)
    assert (figures.figures()["total"], figures.figures()["failed"]) == (1, 1)


def expected(coin: str = "C1", start_ns: int = START, end_ns: int = END) -> list[int]:
    rows = np.isin(TRADES.instrument, CATALOGUE.matching(coin))
    return TRADES.trade_id[rows & (TRADES.timestamp >= start_ns) & (TRADES.timestamp < end_ns)].tolist()


def test_what_memory_covers_is_not_asked_elsewhere() -> None:
    recent, journal, sink = Place(START), Place(), Place()
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal, sinks={"q": sink})  # type: ignore[dict-item]
    assert found.batch.trade_id.tolist() == expected()
    assert [part.source for part in found.parts] == ["recent"]
    assert journal.asked == sink.asked == []


def test_each_place_is_asked_for_its_part_of_the_range() -> None:
    recent, journal, sink = Place(START + 8 * NS_PER_S), Place(START + 4 * NS_PER_S), Place()
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal, sinks={"q": sink},  # type: ignore[dict-item]
                 journal_from_ns=START + 4 * NS_PER_S)
    assert found.batch.trade_id.tolist() == expected()
    assert recent.asked == [(START + 8 * NS_PER_S, END)]
    assert journal.asked == [(START, START + 8 * NS_PER_S)]
    assert sink.asked == [(START, START + 4 * NS_PER_S)]
    assert sum(part.rows for part in found.parts) == len(found.batch)
    assert [part.source for part in found.parts] == ["recent", "journal", "q"]


def test_what_memory_no_longer_has_of_trades_far_ahead_is_asked_of_the_journal() -> None:
    recent, journal, sink = Place(START + 4 * NS_PER_S), Place(), Place()
    recent.spans = [(START + 6 * NS_PER_S, START + 7 * NS_PER_S)]
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal, sinks={"q": sink},  # type: ignore[dict-item]
                 journal_from_ns=START)
    assert journal.asked == [(START, START + 4 * NS_PER_S), (START + 6 * NS_PER_S, START + 7 * NS_PER_S)]
    assert sink.asked == [] and found.batch.trade_id.tolist() == expected()


def test_a_trade_held_twice_is_given_once() -> None:
    found = find("C1", START, END, catalogue=CATALOGUE, journal_query=Place(), sinks={"q": Place()})  # type: ignore[dict-item]
    assert found.batch.trade_id.tolist() == expected()
    assert [part.rows for part in found.parts] == [len(expected())] * 2


def test_a_place_that_cannot_answer_is_named_and_the_others_answer() -> None:
    away = Place(problem=ServiceUnavailable("QuestDB does not answer"))
    torn = Place(problem=StorageError("the disk is gone"))
    found = find("C1", START, END, catalogue=CATALOGUE, journal_query=torn, sinks={"a": away, "b": Place()},  # type: ignore[dict-item]
                 journal_from_ns=START)
    assert found.batch.trade_id.tolist() == expected()
    assert [(part.source, part.problem) for part in found.parts] == [
        ("journal", "the disk is gone"), ("a", "QuestDB does not answer"), ("b", "")]


def test_an_unknown_coin_asks_nobody() -> None:
    journal = Place()
    found = find("NOSUCH", START, END, catalogue=CATALOGUE, journal_query=journal)
    assert (len(found.batch), found.parts, journal.asked) == (0, [], [])


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(["1", "2", "x", "yy", "01"])),
                         max_size=8), max_size=4))
def test_merging_keeps_one_of_each_identity_in_order(held: list[list[tuple[int, int, str]]]) -> None:
    batches = []
    for rows in held:
        batch = batch_of(len(rows)).take(slice(0, len(rows)))
        texts = [text for *_, text in rows]
        odd = np.array([b"" if text in "12" else text.encode() for text in texts], "S4")
        batches.append(TradeBatch(
            np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.int32),
            *batch.columns()[2:5],  # type: ignore[arg-type]
            np.array([int(text) if text in "12" else 0 for text in texts], np.int64), *batch.columns()[6:9],  # type: ignore[arg-type]
            odd if any(odd) else None))
    found = merged(batches)
    rows = list(zip(found.timestamp.tolist(), found.instrument.tolist(), found.id_texts(), strict=True))
    assert len(rows) == len(set(rows))
    assert set(rows) == {row for rows in held for row in rows}
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_memory_and_journal_together_give_every_trade_once(tmp_path: Path) -> None:
    """As a collector does: committed, then remembered; memory is too short for all of it."""
    journal = Journal(tmp_path, CATALOGUE, FakeClock(START), Stats())
    journal.open()
    recent = Recent(minutes=4 / 60, bucket_s=1.0)
    for start in range(0, 1_000, 70):
        batch = TRADES.take(slice(start, start + 70))
        journal.commit(batch)
        recent.add(batch)
    found = find("C1", START, END, catalogue=CATALOGUE, recent=recent, journal_query=journal.query)
    journal.close()
    assert found.batch.trade_id.tolist() == expected()
    assert [part.source for part in found.parts] == ["recent", "journal"]
    assert all(part.rows for part in found.parts)


def test_the_parts_may_be_merged_elsewhere() -> None:
    asked: list[int] = []

    def merge(batches: Sequence[TradeBatch]) -> TradeBatch:
        asked.append(len(batches))
        return merged(batches)

    found = find("C1", START, END, catalogue=CATALOGUE, recent=Place(START + 5 * NS_PER_S), journal_query=Place(), merge=merge)
    assert (found.batch.trade_id.tolist(), asked) == (expected(), [2])
