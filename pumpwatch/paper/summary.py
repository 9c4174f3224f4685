"""Summarise a run over all its archives: per delay the median, the quartiles, the share that lost, and an interval.

The interval is a bootstrap of the median: the listings are resampled RESAMPLES times, with replacement and from the seed, and
the middle 95 % of the medians is the interval. It estimates how much the median of other listings of the same kind may differ,
and nothing more. With fewer than LEAST listings there is no interval, because it would look more certain than it is.

Listings without a result are counted and named, because figures that hide them look too good: `left_out` has those that were
not played, and `without_entry` of each delay those in which the strategy had no fill.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np

from pumpwatch.model import Float64
from pumpwatch.paper.results import ArchiveResult, ListingOutcome, RunResult

LEAST = 10  # listings needed for an interval
RESAMPLES, LEVEL = 2_000, 0.95
DIGITS = 4  # decimals of a percentage


class LeftOut(msgspec.Struct, frozen=True):
    """A listing that was not played, and the reason."""

    archive: str
    coin: str
    reason: str


class DelayRow(msgspec.Struct, frozen=True):
    """One delay over all listings.

    Percentages are relative to the run's size, None if no listing had an entry. pnl: the sum over all listings, in the quote.
    entered: the number of listings with an entry; `lost` of them had a loss. without_entry: the coins of the others.
    interval_percent: of the median; None with fewer than LEAST listings.
    """

    delay_ms: int
    entered: int
    without_entry: tuple[str, ...]
    lost: int
    lost_share: float | None
    median_percent: float | None
    low_quartile_percent: float | None
    high_quartile_percent: float | None
    worst_percent: float | None
    best_percent: float | None
    interval_percent: tuple[float, float] | None
    pnl: Decimal


class RunSummary(msgspec.Struct, frozen=True):
    """A run over all its archives. listings: their number; `played` of them have outcomes.

    notes: sentences about the limits of these figures.
    """

    run_id: str
    strategy: str
    listings: int
    played: int
    left_out: tuple[LeftOut, ...]
    delays: tuple[DelayRow, ...]
    seed: int
    notes: tuple[str, ...]


def summarise(result: RunResult, seed: int | None = None) -> RunSummary:
    """Return the summary of a run. The same run and seed (default: the run's) give the same figures."""
    seed = result.seed if seed is None else seed
    played = [archive for archive in result.archives if archive.left_out is None]
    left_out = tuple(LeftOut(archive.archive, archive.coin, archive.left_out) for archive in result.archives
                     if archive.left_out is not None)
    delays = sorted({outcome.delay_ms for archive in played for outcome in archive.outcomes})
    rows = tuple(_delay_row(delay_ms, played, seed) for delay_ms in delays)
    return RunSummary(result.run_id, result.strategy, len(result.archives), len(played), left_out, rows, seed,
                   tuple(_notes(rows, len(result.archives), len(left_out))))


def _delay_row(delay_ms: int, played: Sequence[ArchiveResult], seed: int) -> DelayRow:
    entered: list[ListingOutcome] = []
    without: list[str] = []
    for archive in played:
        outcome = next((outcome for outcome in archive.outcomes if outcome.delay_ms == delay_ms), None)
        if outcome is not None and outcome.entry_price is not None:
            entered.append(outcome)
        else:
            without.append(archive.coin)
    percent = np.array([float(outcome.pnl_percent) for outcome in entered])
    lost = sum(outcome.pnl < 0 for outcome in entered)
    low, middle, high, worst, best = (None,) * 5 if not entered else (
        *_rounded(np.quantile(percent, (0.25, 0.5, 0.75))), *_rounded(np.array([percent.min(), percent.max()])))
    return DelayRow(delay_ms, len(entered), tuple(without), lost, round(lost / len(entered), DIGITS) if entered else None,
                    middle, low, high, worst, best, interval(percent, seed), sum((row.pnl for row in entered), Decimal(0)))


def interval(percent: Float64, seed: int) -> tuple[float, float] | None:
    """Return the bootstrap interval of the median, None with fewer than LEAST values."""
    if len(percent) < LEAST:
        return None
    draw = np.random.RandomState(seed % 2**32)  # unlike a Generator, it gives the same numbers in every version of numpy
    medians = np.median(percent[draw.randint(0, len(percent), (RESAMPLES, len(percent)))], axis=1)
    low, high = _rounded(np.quantile(medians, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    return low, high


def _rounded(values: Float64) -> list[float]:
    return [round(float(value), DIGITS) + 0.0 for value in values]


def _notes(rows: Sequence[DelayRow], listings: int, left_out: int) -> list[str]:
    notes = []
    least = min((row.entered for row in rows), default=0)
    if 0 < least < LEAST:
        notes.append(f"{'1 listing is' if least == 1 else f'{least} listings are'} too few to conclude from: an interval needs "
                     f"{LEAST}. The figures describe {'it' if least == 1 else 'them'} and say nothing of the next listing.")
    if left_out:
        notes.append(f"{left_out} of {listings} listings {'was' if left_out == 1 else 'were'} not played and "
                     f"{'is' if left_out == 1 else 'are'} in no figure.")
    if any(row.without_entry for row in rows):
        notes.append("A listing without an entry is in no figure of its delay: it neither won nor lost.")
    return notes
