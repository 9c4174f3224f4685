"""The parts of a collector that the backfill uses."""

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
    """The pipeline, which knows what was seen in this run."""

    def compare(self, number: int, batch: TradeBatch, stored: TradeBatch) -> Compared:
        """Compare an instrument's history, oldest first, with its stored trades of that time."""

    def add_history(self, number: int, batch: TradeBatch) -> list[Gap]:
        """Count trades as seen that are about to be stored; return the gaps that they complete or open."""

    def continuous(self, numbers: NDArray[np.int32], from_ns: int, to_ns: int) -> NDArray[np.bool_]:
        """Return for which instruments every trade of [from_ns, to_ns) was seen in this run, by contiguous ids."""

    def last_seen(self, number: int) -> int:
        """Return an instrument's last id, -1 without one."""

    def last_before(self, number: int) -> tuple[int, int]:
        """Return the last id that earlier runs stored and its time in ns, (-1, 0) without one."""


class GapLedger(Protocol):
    """The ledger; its methods run in its own thread."""

    def open_gaps(self) -> list[Gap]:
        """Return the open gaps, oldest first."""

    def open_fills(self) -> list[GapFill]:
        """Return the fills of the gaps that are open."""

    def gap_counts(self) -> dict[tuple[str, str, str], int]:
        """Return the number of gaps by (exchange, market_type, state)."""


@dataclass(frozen=True, slots=True)
class BackfillStores:
    """The stores: where trades and records go.

    stored(number, start_ns, end_ns): an instrument's durable trades, by timestamp.
    wait_durable(within_s): waits until all that was put is durable, and returns whether it is.
    """

    stored: Callable[[int, int, int], TradeBatch]
    put: Callable[[TradeBatch, Records], None]
    wait_durable: Callable[[float], bool]
    record: Callable[[Records], None]
    pipeline: BackfillPipeline


@dataclass(frozen=True, slots=True)
class HistoryAccess:
    """One venue. ids: the numbers of its symbols. lag_ns: of its trades. listed: its symbols are known.

    is_listed(symbol): it is read now, here or elsewhere. conflicts: trades whose contradiction by the history is on record.
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
    """reach_s: how far back; kept_s: how long the journal keeps trades; settle_s: from a gap's end to its work."""

    reach_s: float
    kept_s: float
    settle_s: float
    concurrency: int
    aggregated: bool


@dataclass(frozen=True, slots=True)
class Means:
    """The means that every part of the stage needs."""

    stores: BackfillStores
    clock: Clock
    stats: Stats
    options: BackfillOptions
