"""The interfaces of the collector's parts that the backfill uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pumpwatch.backfill.answers import KeptAnswers
from pumpwatch.backfill.budget import BudgetShare
from pumpwatch.clock import Clock
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.pipeline.admission import Compared
from pumpwatch.pipeline.parse import VenueParser
from pumpwatch.records import GapFill, Records
from pumpwatch.stats import Stats
from pumpwatch.venue import HttpRequest, Venue


class BackfillPipeline(Protocol):
    """The pipeline, which knows the trades that were seen in this run."""

    def compare(self, number: int, batch: TradeBatch, stored: TradeBatch) -> Compared:
        """Compare an instrument's history, oldest first, with its stored trades of the same time."""

    def add_history(self, number: int, batch: TradeBatch) -> list[Gap]:
        """Count trades that are about to be stored as seen; return the gaps that they complete or open."""

    def continuous(self, numbers: NDArray[np.int32], from_ns: int, to_ns: int) -> NDArray[np.bool_]:
        """Return a mask of the instruments with every trade of [from_ns, to_ns) seen in this run, by contiguous ids."""

    def last_seen(self, number: int) -> int:
        """Return an instrument's last id, -1 without one."""

    def last_before(self, number: int) -> tuple[int, int]:
        """Return the last id that earlier runs stored and its time in ns, (-1, 0) without one."""


class GapLedger(Protocol):
    """The ledger, whose methods run in its own thread."""

    def open_gaps(self) -> list[Gap]:
        """Return the open gaps, oldest first."""

    def open_fills(self) -> list[GapFill]:
        """Return the fills of the open gaps."""

    def gap_counts(self) -> dict[tuple[str, str, str], int]:
        """Return the number of gaps by (exchange, market_type, state)."""


@dataclass(frozen=True, slots=True)
class BackfillStores:
    """The stores of trades and records.

    stored(number, start_ns, end_ns): returns an instrument's durable trades, by timestamp. wait_durable(within_s): waits until
    everything that was put is durable, and returns whether it is.
    """

    stored: Callable[[int, int, int], TradeBatch]
    put: Callable[[TradeBatch, Records], None]
    wait_durable: Callable[[float], bool]
    record: Callable[[Records], None]
    pipeline: BackfillPipeline


@dataclass(frozen=True, slots=True)
class HistoryAccess:
    """The access to one venue's history. ids: symbol -> number. lag_ns(): the lag of its trades. listed(): its symbols are known.

    is_listed(symbol): the symbol is read now, here or elsewhere. conflicts: trades with a recorded contradiction by the history.
    """

    venue: Venue
    ids: Mapping[str, int]
    ask: Callable[[HttpRequest], bytes]
    share: BudgetShare
    parser: VenueParser
    lag_ns: Callable[[], int]
    listed: Callable[[], bool]
    is_listed: Callable[[str], bool]
    conflicts: set[tuple[int, str]] = field(default_factory=set)
    answers: KeptAnswers = field(default_factory=KeptAnswers)


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """The options of the backfill.

    reach_s: the age of the oldest gaps to fill. kept_s: the retention of the journal. settle_s: the time from the last change of
    a gap's end to the first attempt. aggregated: use histories that join trades.
    """

    reach_s: float
    kept_s: float
    settle_s: float
    concurrency: int
    aggregated: bool


@dataclass(frozen=True, slots=True)
class Means:
    """The stores, clock, counters and options that every part of the backfill needs."""

    stores: BackfillStores
    clock: Clock
    stats: Stats
    options: BackfillOptions
