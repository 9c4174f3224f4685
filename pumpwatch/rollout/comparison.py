"""Query memory and journal, and the sink, for the same trades, and compare the results in threads beside the hub.

A trade counts as missing in the sink only after the sink has acknowledged everything that was stored at the time of the query,
and has had time to make it visible. A trade counts as missing here only if a second query does not find it either. If other
collectors write to the sink, an instrument is compared only in times in which this collector read it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import PumpWatchError, ServiceUnavailable
from pumpwatch.hookspecs import Sink
from pumpwatch.model import TradeBatch
from pumpwatch.rollout.answers import KINDS
from pumpwatch.rollout.differences import MISSING_HERE, MISSING_THERE, Differences, compare

SETTLE_S = 5.0  # newer trades are not compared
REACHED_WITHIN_S = 10.0  # the sink must acknowledge the compared trades within this time
VISIBLE_WITHIN_S = 10.0  # and make them visible within this time
AGAIN_S = 1.0
ANSWER_WITHIN_S = 30.0  # for sinks without a time limit of their own

T = TypeVar("T")


class Stored(Protocol):
    """The trades that are stored here. Both methods may wait; they only block the calling greenlet."""

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns), each once. Raises StorageError."""

    def reached(self, within_s: float) -> bool:
        """Wait until the sink has acknowledged everything that is stored now; return False if it has not after `within_s`."""


ReadHere = Callable[[int, int, int], bool]  # (instrument, from_ns, to_ns) -> whether this collector read all its trades


def always(instrument: int, start_ns: int, end_ns: int) -> bool:
    """Return True: a single collector reads everything."""
    return True


@dataclass(slots=True)
class ComparisonResult:
    """The result of one comparison. ms: the time of each query of the sink, None for a failed one.

    late: the sink had not acknowledged the compared trades in time, so nothing was compared.
    """

    ms: list[float | None] = field(default_factory=list)
    trades: int = 0
    late: bool = False
    problem: str = ""
    differences: Differences | None = None


class Comparison:
    """Compares one sink with the stored trades. sink: used only in this object's thread; it need not be open."""

    def __init__(self, sink: Sink, stored: Stored, catalogue: Catalogue, clock: Clock, window_s: float, instruments: int,
                 visible_within_s: float = VISIBLE_WITHIN_S, read_here: ReadHere = always) -> None:
        self._sink, self._stored, self._catalogue, self._clock = sink, stored, catalogue, clock
        self._window_ns, self._instruments, self._visible_within_s = int(window_s * NS_PER_S), instruments, visible_within_s
        self._read_here = read_here
        self._thread = ThreadPool(1)
        self._next, self._turn = 0, 0

    def run(self, ids: Sequence[int], since_ns: int) -> ComparisonResult | None:
        """Compare the next few of these instruments, alternately over the newest window and a random one since `since_ns`.

        Return None if there is nothing to compare. Raises StorageError if memory and journal cannot be read.
        """
        end_ns = self._clock.now_ns() - int(SETTLE_S * NS_PER_S)
        if not ids or end_ns <= since_ns:
            return None
        self._turn += 1
        start_ns = max(since_ns, end_ns - self._window_ns)
        if self._turn % 2 == 0:
            start_ns = random.randint(since_ns, start_ns)
        end_ns = min(end_ns, start_ns + self._window_ns)
        chosen = self._choose(ids, start_ns, end_ns)
        return self._compare(chosen, start_ns, end_ns) if chosen else None

    def _choose(self, ids: Sequence[int], start_ns: int, end_ns: int) -> list[int]:
        """Return the next few instruments whose trades of this time this collector read."""
        chosen: list[int] = []
        for _ in range(len(ids)):
            if len(chosen) == self._instruments:
                break
            instrument = ids[self._next % len(ids)]
            self._next = (self._next + 1) % len(ids)
            if self._read_here(instrument, start_ns, end_ns):
                chosen.append(instrument)
        return chosen

    def _compare(self, ids: Sequence[int], start_ns: int, end_ns: int) -> ComparisonResult:
        result = ComparisonResult()
        old = self._stored.query(ids, start_ns, end_ns)
        result.late = not self._stored.reached(REACHED_WITHIN_S)
        deadline = self._clock.monotonic() + self._visible_within_s
        while True:
            new = self._ask(ids, start_ns, end_ns, result)
            if new is None or result.late:
                return result
            found = self._in_thread(compare, old, new, self._catalogue)
            if not found.counts[MISSING_THERE] or self._clock.monotonic() >= deadline:
                break
            gevent.sleep(AGAIN_S)
        if found.counts[MISSING_HERE]:
            again = self._in_thread(compare, self._stored.query(ids, start_ns, end_ns), new, self._catalogue)
            found = Differences({kind: (again if kind == MISSING_HERE else found).counts[kind] for kind in KINDS},
                                {**again.examples, **found.examples})
        result.trades, result.differences = len(old), found
        return result

    def _ask(self, ids: Sequence[int], start_ns: int, end_ns: int, result: ComparisonResult) -> TradeBatch | None:
        """Query the sink once and record the time; return None if it did not answer."""
        began = self._clock.monotonic()
        try:
            new = self._in_thread(self._sink.read, self._catalogue.names(ids), start_ns, end_ns, self._catalogue)
        except PumpWatchError as error:
            result.ms.append(None)
            result.problem = error.message
            return None
        result.ms.append((self._clock.monotonic() - began) * 1000)
        return new

    def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        with gevent.Timeout(ANSWER_WITHIN_S, ServiceUnavailable(f"no answer within {ANSWER_WITHIN_S:.0f} s")):
            result: T = self._thread.apply(function, arguments)
            return result
