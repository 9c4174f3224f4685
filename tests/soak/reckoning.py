"""Compare a run with the ground truth: trades one by one, and minutes one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.config import Config
from pumpwatch.errors import StorageError
from pumpwatch.hookspecs import Sink
from pumpwatch.model import Flag, Gap, GapState, IdKind, TradeBatch
from pumpwatch.ops.completeness import NOT_RUNNING, Judge, VenueFacts
from pumpwatch.ops.minute_states import State, Timeline
from pumpwatch.ops.status_file import read_figures
from pumpwatch.plugins import load_plugins
from pumpwatch.records import GapFill
from pumpwatch.sim.ground_truth import SENT, SPOILT, WITHHELD, Records, Truth
from pumpwatch.sim.reconcile import compare, names_of, numbered
from pumpwatch.store.coverage import Venue
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.pending_records import gap_key
from pumpwatch.store.reader import JournalReader, SegmentReader
from tests.app.coverage import Sent, missing

MUST_BE_0 = ("doubled", "different", "unknown", "unnamed", "out_of_bounds", "false_complete", "sink_differs")
AT_ONCE = 200_000  # trades read before they are split by venue
NEVER_NS = 2**63 - 1
UNREAD_WITHIN_NS = 5 * NS_PER_S  # a frame is read, and quarantined, so soon after it was sent


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a scenario. sent: trades that were made.

    unseen: missing trades that nothing but the venue's candles could show, by the reason (`unseen_why`); the next three leave
    them out. unnamed: missing trades that are in no gap that is open or lost. out_of_bounds: those that such a gap names, but
    not within the bounds of what is lost there. false_complete: symbols' minutes called complete, filled or quiet of which a
    trade is missing. false_alarms: symbols' minutes called gaps of which every trade is stored, but for the minute in which
    the collector ended; alarm_reasons: the gaps' reasons. filled_s: from the end of the last harm until every gap was done; the
    run is good only if that was within filled_within_s. sink_differs: rows that only the journal has, and those that only the
    sink has.
    """

    sent: int
    stored: int
    missing: int
    doubled: int
    different: int
    unknown: int
    unnamed: int
    out_of_bounds: int
    false_complete: int
    false_alarms: int
    minutes: int
    gaps: dict[str, int]
    lost_reasons: dict[str, int]
    unseen: dict[str, int]
    alarm_reasons: dict[str, int]
    notes: dict[str, Any]
    filled_s: float = 0.0
    filled_within_s: float = 0.0
    sink_differs: int = 0

    @property
    def good(self) -> bool:
        """Return whether nothing is lost without a name, doubled, or claimed falsely."""
        return not any(getattr(self, name) for name in MUST_BE_0) and self.filled_s <= self.filled_within_s

    def figures(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)

    def table(self) -> str:
        """Return everything as lines for a person: a figure each, and those that must be 0 marked where they are not."""
        lines = []
        for name, value in self.figures().items():
            if isinstance(value, dict):
                lines += [f"{name}:", *(f"    {f'{count:,}' if isinstance(count, int) else str(count):>12}  {what}"
                                        for what, count in value.items())] if value else []
            else:
                lines.append(f"{name:<16}{value:>12,}{'  must be 0' if name in MUST_BE_0 and value else ''}")
        return "\n".join(lines)


def reckon(truth: Truth, folder: Path, filled_s: float = 0.0, filled_within_s: float = 0.0, sink: Sink | None = None,
           **notes: Any) -> Result:
    """Compare a folder, whose collector has ended, with the trades that the venues made while it ran, was killed or cut off.

    A sink that has got everything is compared too.
    """
    stored, catalogue = stored_by_venue(folder)
    facts = {(venue.exchange, venue.market_type): VenueFacts(venue.id_kind, venue.history.skips_ids)
             for venue in load_plugins(Config()).venues if not venue.variant}
    ledger = Ledger(folder, read_only=True)
    gaps = [gap for _, gap in ledger.gaps()]
    fills = {(gap_key(fill.gap), fill.symbol): fill for fill in ledger.fills_between(0, 2**62)}
    unread = ledger.quarantine(limit=10**9)
    ledger.close()
    counts, unseen, gone, seeable, sink_differs = Counter[str](), Counter[str](), list[Sent](), list[Sent](), 0
    for venue in truth.venues:
        part, batch = truth.only(venue), stored.pop(_key(venue), TradeBatch.empty())
        counted = compare(part, batch, catalogue, made=True)
        counts.update(counted.figures())
        whys = unseen_why(part, counted.lost, facts[_key(venue)], [
            row.at_ns for row in unread if (row.exchange, row.market_type) == _key(venue)])
        for sent, why in zip(missing(part, counted), whys, strict=True):
            gone.append(sent)
            if why:
                unseen[why] += 1
            else:
                seeable.append(sent)
        if sink:
            sink_differs += differing(batch, sink.read(names_of(part), 0, 2**62, catalogue))
    ended_ns = int(read_figures(folder)["written_at_ns"])
    named = nameless(seeable, [*gaps, *(Gap(exchange=exchange, market_type=market, from_ns=ended_ns, to_ns=NEVER_NS,
                                            reason=NOT_RUNNING) for exchange, market in facts)], fills)
    judged = _judge_minutes(truth, Judge(folder, facts, ended_ns), gone, seeable)
    return Result(
        sent=counts["sent"], stored=counts["stored"], missing=counts["missing"], doubled=counts["doubled"],
        different=counts["different"], unknown=counts["unknown"] + sum(map(len, stored.values())), unnamed=named[0],
        out_of_bounds=named[1], unseen=dict(unseen), minutes=judged.minutes, false_complete=judged.false_complete,
        false_alarms=judged.alarms.total(), alarm_reasons=dict(judged.alarms.most_common()),
        gaps={state.value: sum(gap.state == state for gap in gaps) for state in GapState},
        lost_reasons=_reasons(fills.values()), notes=notes, filled_s=round(filled_s, 1), filled_within_s=filled_within_s,
        sink_differs=sink_differs)


def _key(venue: str) -> Venue:
    exchange, _, market_type = venue.partition(".")
    return exchange, market_type


def stored_by_venue(folder: Path) -> tuple[dict[Venue, TradeBatch], Catalogue]:
    """Return all trades of the journal in a folder, and their catalogue. Raises StorageError where a file is not whole."""
    catalogue = Catalogue()
    journal = JournalReader(folder, catalogue)
    found: dict[Venue, list[TradeBatch]] = {}
    for segment in journal.segments():
        reader = SegmentReader(segment.path, catalogue, _refuse)
        batches = (batch for _, batch in reader.after(segment.first_id - 1, segment.last_id))
        while waiting := list(_some(batches)):
            batch = TradeBatch.concat(waiting)
            venues = np.unique(np.array([".".join(venue) for venue in catalogue.venues]), return_inverse=True)
            for number, venue in enumerate(venues[0].tolist()):
                rows = np.flatnonzero(venues[1][batch.instrument] == number)
                if len(rows):
                    found.setdefault(_key(venue), []).append(_narrow(batch.take(rows)))
        reader.close()
    if journal.unreadable:
        raise StorageError(f"not readable: {journal.unreadable}")
    return {venue: TradeBatch.concat(batches) for venue, batches in found.items()}, catalogue


def _some(batches: Iterator[TradeBatch]) -> Iterator[TradeBatch]:
    """Yield batches until they have AT_ONCE trades together."""
    rows = 0
    while rows < AT_ONCE and (batch := next(batches, None)) is not None:
        rows += len(batch)
        yield batch


def _narrow(batch: TradeBatch) -> TradeBatch:
    """Return a batch whose text ids are as wide as they must be, None where there are none."""
    if batch.text_id is None:
        return batch
    width = int(np.char.str_len(batch.text_id).max())
    return replace(batch, text_id=batch.text_id.astype(f"S{width}") if width else None)


def _refuse(file: Path, batch_id: int, reason: str) -> None:
    raise StorageError(f"{file}: batch {batch_id}: {reason}")


def unseen_why(part: Truth, lost: Records, facts: VenueFacts, unread_ns: Sequence[int]) -> list[str]:
    """Return for each missing trade of one venue why nothing but its candles could show that, "" where a gap must name it.

    unread_ns: when frames were quarantined.
    """
    by_trade: dict[tuple[int, int], set[int]] = {}
    records = part.records[np.isin(part.records["trade_id"], lost["trade_id"])]
    for symbol, trade_id, state in zip(*(records[name].tolist() for name in ("symbol", "trade_id", "state")), strict=True):
        by_trade.setdefault((symbol, trade_id), set()).add(state)
    whys = []
    for one in lost:
        states = by_trade[int(one["symbol"]), int(one["trade_id"])]
        if facts.id_kind != IdKind.CONTIGUOUS and states == {WITHHELD}:
            whys.append("the venue withheld it on a connection that stood, and its ids prove nothing")
        elif facts.id_kind != IdKind.CONTIGUOUS and SPOILT in states and any(
                abs(int(one["sent_at"]) - at_ns) < UNREAD_WITHIN_NS for at_ns in unread_ns):
            whys.append("its frame is quarantined")
        elif facts.skips_ids and one["flags"] & Flag.outside_market() and SENT not in states:
            whys.append("no order matched it, so that the history leaves it out")
        else:
            whys.append("")
    return whys


def nameless(gone: Iterable[Sent], gaps: Iterable[Gap], fills: Mapping[tuple[Any, str], GapFill]) -> tuple[int, int]:
    """Return how many missing trades are in no gap that is open or lost, and how many are outside the bounds of what is lost."""
    by_venue: dict[Venue, list[Gap]] = {}
    for gap in gaps:
        if gap.state != GapState.FILLED:
            by_venue.setdefault((gap.exchange, gap.market_type), []).append(gap)
    trades: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for exchange, market_type, symbol, trade_id, at_ns in gone:
        trades.setdefault((exchange, market_type, symbol), []).append((trade_id, at_ns))
    unnamed = out_of_bounds = 0
    for (exchange, market_type, symbol), rows in trades.items():
        ids, times = np.array(rows, np.int64).T
        named, within = np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.bool_)
        for gap in by_venue.get((exchange, market_type), ()):
            fill = fills.get((gap_key(gap), symbol))
            if not gap.touches(symbol) or (fill is not None and fill.state == GapState.FILLED):
                continue
            if gap.first_id is not None and gap.last_id is not None:
                inside = (ids >= gap.first_id) & (ids <= gap.last_id)
            else:
                inside = (times >= gap.from_ns) & (times < gap.to_ns)
            named |= inside
            if fill is not None and fill.state == GapState.LOST and fill.lost_to_ns > fill.lost_from_ns:
                inside &= (times >= fill.lost_from_ns) & (times <= fill.lost_to_ns)
            within |= inside
        unnamed += int((~named).sum())
        out_of_bounds += int((named & ~within).sum())
    return unnamed, out_of_bounds


def differing(first: TradeBatch, second: TradeBatch) -> int:
    """Return how many rows only one of two batches has; a row that comes twice counts twice."""
    numbers = numbered(_columns(first), _columns(second))
    counts = [np.bincount(part, minlength=len(first) + len(second)) for part in numbers]
    return int(np.abs(counts[0] - counts[1]).sum())


def _columns(batch: TradeBatch) -> tuple[Any, ...]:
    ids = batch.trade_id.astype("S20")  # a sink may read as text what the journal has as a number
    if batch.text_id is not None:
        ids = np.where(batch.text_id != b"", batch.text_id, ids)
    return batch.instrument, batch.timestamp, batch.price, batch.quantity, batch.side, ids


def _reasons(fills: Any) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for fill in fills:
        if fill.state == GapState.LOST:
            reasons[fill.reason] = reasons.get(fill.reason, 0) + 1
    return reasons


@dataclass(slots=True)
class Judged:
    """The minutes of all symbols as they were judged. alarms: minutes that are gaps without a missing trade, by their reasons."""

    minutes: int = 0
    false_complete: int = 0
    alarms: Counter[str] = field(default_factory=Counter)


def _judge_minutes(truth: Truth, judge: Judge, gone: list[Sent], seeable: list[Sent]) -> Judged:
    """Compare the states of all minutes with those in which trades are missing: all of these, and those that can be known."""
    found, times = Judged(), truth.records["timestamp"]
    lost, known = _minutes_of(gone), _minutes_of(seeable)
    for day in judge.days(int(times.min()) // MINUTE_NS * MINUTE_NS, int(times.max()) + 60 * NS_PER_S):
        for venue, line in day.timelines.items():
            found.minutes += line.states.size
            found.false_complete += int(((line.states < State.GAP) & _marked(line, known.get(venue, ()))).sum())
            alarms = line.reasons[(line.states == State.GAP) & ~_marked(line, lost.get(venue, ()))]
            found.alarms.update(f"{'.'.join(venue)}: {line.texts[number]}" for number in alarms.tolist()
                                if line.texts[number] != NOT_RUNNING)  # the minute in which the run ended
    return found


def _minutes_of(trades: Iterable[Sent]) -> dict[Venue, set[tuple[str, int]]]:
    found: dict[Venue, set[tuple[str, int]]] = {}
    for exchange, market_type, symbol, _, at_ns in trades:
        found.setdefault((exchange, market_type), set()).add((symbol, at_ns // MINUTE_NS))
    return found


def _marked(line: Timeline, minutes: Iterable[tuple[str, int]]) -> NDArray[np.bool_]:
    """Return which minutes of a venue's symbols are among some."""
    marked, row_of = np.zeros(line.states.shape, np.bool_), {symbol: row for row, symbol in enumerate(line.symbols)}
    for symbol, minute in minutes:
        if symbol in row_of and line.first <= minute < line.end:
            marked[row_of[symbol], minute - line.first] = True
    return marked
