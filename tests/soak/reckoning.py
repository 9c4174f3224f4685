"""Compare a run with the ground truth: trades one by one, and minutes one by one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.config import Config
from pumpwatch.hookspecs import Sink
from pumpwatch.model import Gap, GapState, TradeBatch
from pumpwatch.ops.completeness import Judge, VenueFacts
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.status_file import read_figures
from pumpwatch.plugins import load_plugins
from pumpwatch.records import GapFill
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.pending_records import gap_key
from tests.app.coverage import Sent, covered, missing
from tests.app.reckoning import stored_of

ROW = np.dtype([("instrument", "i4"), ("timestamp", "i8"), ("id", "S64"), ("price", "f8"), ("quantity", "f8"),
                ("side", "u1")])


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a scenario. sent: trades that were made; unnamed: those that are missing and in no gap that is open or lost.

    false_complete: symbols' minutes called complete, filled or quiet of which a trade is missing. false_alarms: symbols' minutes
    called gaps of which every trade is stored, with nothing left to be filled. filled_s: from the end of the last harm until
    every gap was done; the run is good only if that was within filled_within_s. sink_differs: rows that only the journal has, and
    those that only the sink has.
    """

    sent: int
    stored: int
    missing: int
    doubled: int
    different: int
    unknown: int
    unnamed: int
    false_complete: int
    false_alarms: int
    minutes: int
    gaps: dict[str, int]
    lost_reasons: dict[str, int]
    notes: dict[str, Any]
    filled_s: float = 0.0
    filled_within_s: float = 0.0
    sink_differs: int = 0

    @property
    def good(self) -> bool:
        """Return whether nothing is lost without a name, doubled, or claimed falsely."""
        return not (self.doubled or self.different or self.unknown or self.unnamed or self.false_complete
                    or self.sink_differs or self.filled_s > self.filled_within_s)

    def figures(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def reckon(truth: Truth, folder: Path, filled_s: float = 0.0, filled_within_s: float = 0.0, sink: Sink | None = None,
           **notes: Any) -> Result:
    """Compare a folder, whose collector has ended, with the trades that the venues made while it ran, was killed or cut off.

    A sink that has got everything is compared too.
    """
    counted = compare(truth, *stored_of(truth, folder), made=True)
    ledger = Ledger(folder, read_only=True)
    gaps = [gap for _, gap in ledger.gaps()]
    fills = {(gap_key(fill.gap), fill.symbol): fill for fill in ledger.fills_between(0, 2**62)}
    ledger.close()
    left = [gap for gap in gaps if gap.state != GapState.FILLED]
    gone = list(missing(truth, counted))
    named: dict[tuple[str, str, str], list[Gap]] = {}
    for sent in gone:
        if sent[:3] not in named:
            named[sent[:3]] = [gap for gap in left if not _filled(gap, sent, fills)]
    unnamed = [sent for sent in gone if not covered(sent, named[sent[:3]])]
    minutes, false_complete, false_alarms = _judge_minutes(truth, folder, gone)
    return Result(
        sent=counted.sent, stored=counted.stored, missing=counted.missing, doubled=counted.doubled, different=counted.different,
        unknown=counted.unknown, unnamed=len(unnamed), false_complete=false_complete, false_alarms=false_alarms, minutes=minutes,
        gaps={state.value: sum(gap.state == state for gap in gaps) for state in GapState},
        lost_reasons=_reasons(fills.values()), notes=notes, filled_s=round(filled_s, 1), filled_within_s=filled_within_s,
        sink_differs=_sink_differs(truth, folder, sink) if sink else 0)


def _sink_differs(truth: Truth, folder: Path, sink: Sink) -> int:
    stored, catalogue = stored_of(truth, folder)
    return differing(stored, sink.read(names_of(truth), 0, 2**62, catalogue))


def differing(first: TradeBatch, second: TradeBatch) -> int:
    """Return how many rows only one of two batches has; a row that comes twice counts twice."""
    rows = np.concatenate([_rows(first), _rows(second)])
    _, number = np.unique(rows, return_inverse=True)
    counts = [np.bincount(part, minlength=len(rows)) for part in (number[:len(first)], number[len(first):])]
    return int(np.abs(counts[0] - counts[1]).sum())


def _rows(batch: TradeBatch) -> np.ndarray[Any, Any]:
    rows = np.empty(len(batch), ROW)
    for name in ("instrument", "timestamp", "price", "quantity", "side"):
        rows[name] = getattr(batch, name)
    numbers = batch.trade_id.astype("S20")  # a sink may read as text what the journal has as a number
    rows["id"] = numbers if batch.text_id is None else np.where(batch.text_id != b"", batch.text_id, numbers)
    return rows


def _filled(gap: Gap, sent: Sent, fills: dict[tuple[Any, str], GapFill]) -> bool:
    fill = fills.get((gap_key(gap), sent[2]))
    return fill is not None and fill.state == GapState.FILLED


def _reasons(fills: Any) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for fill in fills:
        if fill.state == GapState.LOST:
            reasons[fill.reason] = reasons.get(fill.reason, 0) + 1
    return reasons


def _judge_minutes(truth: Truth, folder: Path, gone: list[Sent]) -> tuple[int, int, int]:
    """Return the number of judged minutes, and of those that are called complete or a gap falsely."""
    facts = {(venue.exchange, venue.market_type): VenueFacts(venue.id_kind, venue.history.skips_ids)
             for venue in load_plugins(Config()).venues if not venue.variant}
    trades = truth.trades(made=True)
    lost = {(exchange, market, symbol, at_ns // MINUTE_NS) for exchange, market, symbol, _, at_ns in gone}
    judge = Judge(folder, facts, int(read_figures(folder)["written_at_ns"]))
    count = false_complete = false_alarms = 0
    first_ns = int(trades["timestamp"].min()) // MINUTE_NS * MINUTE_NS
    for day in judge.days(first_ns, int(trades["timestamp"].max()) + 60 * NS_PER_S):
        for (exchange, market), line in day.timelines.items():
            count += line.states.size
            for row, symbol in enumerate(line.symbols):
                claimed = line.states[row] < State.GAP
                really = np.array([(exchange, market, symbol, minute) in lost for minute in range(line.first, line.end)])
                false_complete += int((claimed & really).sum())
                false_alarms += int(((line.states[row] == State.GAP) & ~really).sum())
    return count, false_complete, false_alarms
