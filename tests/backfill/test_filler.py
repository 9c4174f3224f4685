"""One symbol's part of a gap, filled from histories of every kind: nothing doubled, nothing claimed that is not proven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pumpwatch.backfill.filler import ATTEMPTS
from pumpwatch.backfill.intake import Unsettled
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.model import Flag, Gap, GapState, IdKind, TradeBatch
from pumpwatch.venue import Venue
from tests.backfill.scripted import START_NS, MemoryCollector, Row, ScriptedHistory, gap_of, scripted_venue, trade

KINDS = [IdKind.CONTIGUOUS, IdKind.MONOTONIC, IdKind.UNIQUE]


class Case:
    """A venue with one symbol that trades each second, and a collector that misses the trades from 30 s to 60 s."""

    def __init__(self, kind: IdKind = IdKind.CONTIGUOUS, trades: int = 100, missing: range = range(30, 60),
                 after: bool = True, options: dict[str, Any] | None = None, **depth: Any) -> None:
        self.kind, self.clock = kind, FakeClock(START_NS + 120 * NS_PER_S)
        self.venue: Venue = scripted_venue(kind=kind, **depth)
        self.rows: list[Row] = [trade("S", number, kind=kind) for number in range(1, trades)]
        self.history = ScriptedHistory(self.venue, {"S": self.rows}, self.clock)
        self.collector = MemoryCollector([self.history], self.clock, {"S": 1000.0}, **(options or {}))
        self.jumps: list[Gap] = self.collector.live([row for number, row in enumerate(self.rows, 1) if number < missing.start])
        if after:
            self.jumps += self.collector.live([row for number, row in enumerate(self.rows, 1) if number >= missing.stop])
        self.gap = gap_of(self.venue, missing.start - 0.5, missing.stop - 0.5, symbols=("S",))

    def fill(self, gap: Gap | None = None):
        return self.collector.fill(self.collector.work(gap or self.gap, "S"))

    @property
    def stored(self) -> list[Any]:
        return self.collector.have("S")

    @property
    def whole(self) -> list[Any]:
        return [str(row["id"]) for row in self.rows]


@pytest.mark.parametrize("oldest_first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_is_filled_and_each_trade_is_there_once(kind, oldest_first):
    case = Case(kind, oldest_first=oldest_first)
    fill = case.fill()
    assert (fill.state, fill.found, fill.missing) == (GapState.FILLED, 30, 0)
    assert fill.by == ("id" if kind is IdKind.CONTIGUOUS else "overlap")
    assert case.stored == case.whole


def test_a_jump_is_filled_by_id():
    case = Case()
    (jump,) = case.jumps
    fill = case.fill(jump)
    assert (fill.state, fill.found, fill.by) == (GapState.FILLED, 30, "id") and case.stored == case.whole
    assert all(int(asked["first"]) >= 29 and int(asked["last"]) <= 60 for asked in case.history.asked)


def test_a_cut_also_completes_the_jump_that_it_caused():
    case = Case()
    case.fill()
    assert [gap.state for gap in case.collector.gaps.values()] == [GapState.FILLED]
    (fill,) = case.collector.fills.values()
    assert (fill.gap.first_id, fill.found, fill.by) == (30, 30, "id")


def test_ids_that_are_stored_across_a_gap_need_no_request():
    case = Case(missing=range(200, 201))
    fill = case.fill(gap_of(case.venue, 29.5, 59.5, symbols=("S",)))
    assert (fill.state, fill.found, case.history.asked) == (GapState.FILLED, 0, [])


def test_fetched_trades_are_flagged_and_arrive_now():
    case = Case()
    case.fill()
    batch = TradeBatch.concat(case.collector.stored)
    fetched = batch.take((batch.flags & Flag.BACKFILLED) > 0)
    assert len(fetched) == 30 and (fetched.received_at >= START_NS + 120 * NS_PER_S).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_symbol_without_a_trade_since_is_filled_to_the_end_of_its_history(kind):
    case = Case(kind, trades=60, after=False)
    assert case.fill().state is GapState.FILLED and case.stored == case.whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_symbol_that_has_not_traded_at_all_is_filled_with_nothing(kind):
    case = Case(kind, trades=30, after=False)
    fill = case.fill()
    assert (fill.state, fill.found) == (GapState.FILLED, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_that_gives_only_its_newest_rows_fills_what_it_reaches(kind):
    case = Case(kind, pages=False, by_id=False, rows_per_request=60)
    fill = case.fill()
    assert (fill.state, fill.found) == (GapState.LOST, 20) and fill.reason == "history reaches 60 trades back"
    assert fill.missing == (10 if kind is IdKind.CONTIGUOUS else -1)
    assert START_NS + 29 * NS_PER_S <= fill.lost_from_ns < fill.lost_to_ns <= START_NS + 40 * NS_PER_S + 1
    assert case.stored == case.whole[:29] + case.whole[39:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_that_lags_is_asked_again(kind):
    case = Case(kind, trades=61, missing=range(30, 60))
    case.history.lag_s = 80.0
    work = case.collector.work(case.gap, "S")
    with pytest.raises(Unsettled):
        case.collector.fill(work)
    case.history.lag_s = 0.0
    assert case.collector.fill(work).state is GapState.FILLED
    assert case.stored == case.whole


def test_newest_rows_of_several_answers_count_together():
    case = Case(IdKind.UNIQUE, pages=False, by_id=False, rows_per_request=40, trades=66, missing=range(30, 60))
    case.history.lag_s = 72.0  # it ends with trade 48, and begins with 9
    work = case.collector.work(case.gap, "S")
    with pytest.raises(Unsettled):
        case.collector.fill(work)
    case.history.lag_s = 0.0  # it begins with 26
    case.rows += [trade("S", number, kind=IdKind.UNIQUE) for number in range(66, 76)]
    case.history.rows["S"] = case.rows  # it begins with 36
    fill = case.collector.fill(work)
    assert (fill.state, fill.found) == (GapState.FILLED, 30)
    assert case.stored == case.whole[:65]


def holed(rows: list[Row]) -> list[Row]:
    return [row for place, row in enumerate(rows) if place != len(rows) // 2]


def test_a_page_with_a_hole_is_asked_again_and_its_id_is_lost_only_once_it_is_out_of_reach():
    case = Case()
    case.history.spoil = lambda rows: [row for row in rows if row["id"] != 44]
    work = case.collector.work(case.gap, "S")
    for _ in range(30):
        with pytest.raises(Unsettled):
            case.collector.fill(work)
    case.clock.advance(86_400)
    fill = case.collector.fill(work)
    assert (fill.state, fill.found, fill.missing) == (GapState.LOST, 29, 1)
    assert (fill.lost_from_ns, fill.lost_to_ns) == (START_NS + 43 * NS_PER_S, START_NS + 45 * NS_PER_S)


def test_what_the_newest_rows_lack_is_lost_after_some_tries():
    case = Case(pages=False, by_id=False, rows_per_request=100)
    case.history.spoil = lambda rows: [row for row in rows if row["id"] != 44]
    work = case.collector.work(case.gap, "S")
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(Unsettled):
            case.collector.fill(work)
    fill = case.collector.fill(work)
    assert (fill.state, fill.found, fill.missing, len(case.history.asked)) == (GapState.LOST, 29, 1, ATTEMPTS)


@pytest.mark.parametrize("kind", [IdKind.MONOTONIC, IdKind.UNIQUE])
def test_a_history_that_lacks_stored_trades_proves_nothing(kind):
    case = Case(kind)
    case.history.spoil = holed
    case.gap = gap_of(case.venue, 34.5, 40.5, symbols=("S",))
    case.collector.live(case.rows[29:34])
    case.collector.live(case.rows[40:59])
    work = case.collector.work(case.gap, "S")
    with pytest.raises(Unsettled, match="lacks"):
        case.collector.fill(work)


def test_ids_that_the_history_leaves_out_are_not_lost_trades():
    case = Case(skips_ids=True)
    case.history.rows["S"] = [row for row in case.rows if row["id"] not in (40, 41)]
    work = case.collector.work(case.jumps[0])
    for _ in range(2):  # once more at the same moment: the second answer counts for nothing
        with pytest.raises(Unsettled):
            case.collector.fill(work)
    case.clock.advance(5.0)
    fill = case.collector.fill(work)
    assert (fill.state, fill.found, fill.missing) == (GapState.FILLED, 28, 0) and fill.reason.startswith("2 ids")


def test_trades_that_one_answer_leaves_out_come_with_the_next_one():
    case = Case(pages=False, by_id=False, rows_per_request=1000, skips_ids=True)
    work = case.collector.work(case.jumps[0])
    case.history.spoil = lambda rows: [row for row in rows if not 40 <= row["id"] < 50]
    with pytest.raises(Unsettled):
        case.collector.fill(work)
    case.clock.advance(10.0)
    case.history.spoil = lambda rows: rows
    fill = case.collector.fill(work)
    assert (fill.state, fill.found, fill.reason) == (GapState.FILLED, 30, "") and case.stored == case.whole


HOSTILE = {
    "html": lambda rows: b"<html><body>502 Bad Gateway</body></html>", "not json": lambda rows: b"\xff\xfe",
    "an object": lambda rows: b'{"code": 0}', "other symbols": lambda rows: [{**row, "s": "T"} for row in rows],
    "another unit": lambda rows: [{**row, "t": row["t"] * 1000} for row in rows],
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_is_no_history_stores_nothing(spoil):
    case = Case()
    case.history.spoil = spoil
    before = case.stored
    with pytest.raises(REFUSALS):
        case.fill()
    assert case.stored == before and not case.collector.fills


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_answer_proves_nothing(kind):
    case = Case(kind)
    case.history.spoil = lambda rows: []
    before = case.stored
    with pytest.raises(REFUSALS, match="no rows"):
        case.fill()
    assert case.stored == before


@pytest.mark.parametrize("pages", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_empty_answers_never_prove_that_nothing_is_missing(kind, pages):
    case = Case(kind, trades=1, pages=pages)
    work = case.collector.work(case.gap, "S")
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(Unsettled, match="no rows"):
            case.collector.fill(work)
    fill = case.collector.fill(work)
    assert (fill.state, fill.by, fill.reason) == (GapState.LOST, "nothing", "the venue's history has no rows")


@pytest.mark.parametrize("pages", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_symbol_that_never_traded_has_lost_nothing_where_the_history_has_rows_of_others(kind, pages):
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = scripted_venue(kind=kind, pages=pages, rows_per_request=200)
    history = ScriptedHistory(venue, {"S": [], "T": [trade("T", number, kind=kind) for number in range(1, 120)]}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0, "T": 1.0})
    collector.live(history.rows["T"][:29])
    collector.live(history.rows["T"][59:])
    gap = gap_of(venue, 29.5, 59.5, symbols=("S", "T"))
    assert collector.fill(collector.work(gap, "T")).state is GapState.FILLED
    work = collector.work(gap, "S")
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(Unsettled, match="no rows"):
            collector.fill(work)
    fill = collector.fill(work)
    assert (fill.state, fill.by, fill.found) == (GapState.FILLED, "an empty history", 0)


def test_a_history_that_is_asked_soon_after_a_gap_and_ends_in_it_is_asked_once_more():
    case = Case(IdKind.UNIQUE, trades=60, after=False)
    case.history.lag_s = 9.0
    case.clock.step(-56.0)  # 64 s: the history ends at 55 s
    work = case.collector.work(case.gap, "S")
    work.settled_at = case.clock.monotonic() - 6.0
    with pytest.raises(Unsettled, match="ends before the gap"):
        case.collector.fill(work)
    case.clock.advance(10.0)
    assert case.collector.fill(work).state is GapState.FILLED and case.stored == case.whole


def test_a_page_that_ends_amid_the_trades_of_one_moment_leaves_the_gap_open():
    case = Case(IdKind.UNIQUE, trades=41, missing=range(31, 60))
    moment = case.rows[-1]["t"] + 500
    case.history.rows["S"] += [{**trade("S", 100 + number, kind=IdKind.UNIQUE), "t": moment} for number in range(25)]
    with pytest.raises(Unsettled, match="ends before the gap"):
        case.fill()


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_repeats_stores_each_trade_once_and_proves_nothing(kind):
    case = Case(kind)
    case.history.spoil = lambda rows: case.rows[24:34]
    with pytest.raises(Unsettled):
        case.fill()
    assert case.stored == sorted(set(case.stored), key=case.whole.index) and len(case.history.asked) < 10


def test_a_venue_that_fails_is_an_error_and_nothing_else():
    case = Case()
    case.history.fails = 1
    with pytest.raises(ServiceUnavailable):
        case.fill()
    assert case.fill().state is GapState.FILLED


def test_another_price_under_a_stored_id_is_kept_as_a_conflict_and_logged(caplog):
    case = Case(IdKind.MONOTONIC)
    case.history.spoil = lambda rows: [{**row, "p": 999.0} if row["id"] == 3 * 25 else row for row in rows]
    assert case.fill().state is GapState.FILLED
    (row,) = [row for records in case.collector.recorded for row in records.quarantine]
    assert row.reason.startswith("conflict") and b"999" in row.payload and b"id=75" in row.payload
    assert case.stored == case.whole and "contradicts" in caplog.text


@pytest.mark.parametrize("kind", [IdKind.MONOTONIC, IdKind.UNIQUE])
def test_a_history_with_other_ids_than_the_stream_stores_nothing(kind):
    case = Case(kind)
    case.history.spoil = lambda rows: [{**row, "id": f"x{row['id']}" if isinstance(row["id"], str) else row["id"] + 1}
                                       for row in rows]
    before = case.stored
    with pytest.raises(REFUSALS, match="other ids"):
        case.fill()
    assert case.stored == before


def test_trades_that_were_seen_and_dropped_are_fetched():
    """They are not missing by id: only the store shows it."""
    case = Case(missing=range(200, 201))
    case.collector.stored = [batch.take((batch.trade_id < 30) | (batch.trade_id >= 60)) for batch in case.collector.stored]
    fill = case.fill(gap_of(case.venue, 29.5, 59.5, reason="trades dropped: the journal refused them and memory is full"))
    assert (fill.state, fill.found) == (GapState.FILLED, 30) and case.stored == case.whole


def test_nothing_is_decided_while_trades_wait_for_the_disk():
    case = Case()
    case.collector.durable = False
    with pytest.raises(Unsettled, match="disk"):
        case.fill()
    assert not case.collector.waiting


def test_what_is_older_than_allowed_is_lost_and_the_rest_is_filled():
    case = Case(options={"reach_s": 75.0})  # since 45 s
    fill = case.fill()
    assert (fill.state, fill.found, fill.reason) == (GapState.LOST, 15, "older than backfill.reach_h")
    assert (fill.lost_from_ns, fill.lost_to_ns) == (case.gap.from_ns, START_NS + 45 * NS_PER_S)


@pytest.mark.parametrize(("options", "depth", "reason"), [
    ({"reach_s": 10.0}, {}, "older than backfill.reach_h"), ({"kept_s": 10.0}, {}, "older than store.retention_hours"),
    ({}, {"reach_s": 10.0}, "the venue's history reaches"), ({}, {"rows_per_request": 0}, "the venue has no history")])
def test_a_gap_out_of_reach_is_lost_without_a_request(options, depth, reason):
    case = Case(options=options, **depth)
    for gap in (case.gap, *case.jumps):
        fill = case.fill(gap)
        assert fill.state is GapState.LOST and fill.reason.startswith(reason)
        assert (fill.lost_from_ns, fill.lost_to_ns) == (gap.from_ns, gap.to_ns)
    assert not case.history.asked


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_jumps_by_an_hour_neither_loses_nor_fills_falsely(kind, step_s):
    case = Case(kind)
    lag = int(step_s * NS_PER_S)
    access = case.collector.accesses[0]
    case.collector.accesses[0] = replace(access, lag_ns=lambda: lag)
    case.clock.step(step_s)
    case.history.lag_s = step_s  # the venue's own clock has not moved
    grown = replace(case.gap, to_ns=case.gap.to_ns + max(0, lag))
    fill = case.fill(grown)
    assert (fill.state, fill.found) == (GapState.FILLED, 30) and case.stored == case.whole


def test_a_venue_without_ids_gets_what_it_lacks_and_equal_trades_are_told_apart():
    case = Case(IdKind.NONE, pages=False, by_id=False, rows_per_request=200)
    twice = [row for row in case.rows for _ in range(2 if row in case.rows[35:37] else 1)]
    case.history.rows["S"] = twice
    fill = case.fill()
    assert (fill.state, fill.found, fill.by) == (GapState.FILLED, 32, "overlap")
    assert sum("#1" in text for text in case.stored) == 2 and len(case.stored) == 101


def test_ids_that_the_history_leaves_out_open_no_gap_of_their_own():
    case = Case(after=False, skips_ids=True)
    case.history.rows["S"] = [row for row in case.rows if row["id"] not in (40, 41)]
    work = case.collector.work(case.gap, "S")
    with pytest.raises(Unsettled):
        case.collector.fill(work)
    case.clock.advance(10.0)
    assert case.collector.fill(work).state is GapState.FILLED and not case.collector.gaps
