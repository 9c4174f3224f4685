"""Ask memory and journal, and the sink, for the same trades, and compare the answers. Nothing of it runs on the hub.

A trade counts as missing in the sink only once the sink has acknowledged everything that was stored when memory and journal were
asked, and has had time to make it visible. A trade counts as missing here only if a second look does not find it either. Where
other collectors write to the sink, an instrument is compared in times alone in which it was read here.
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

SETTLE_S = 5.0  # newer trades are not asked for
REACHED_WITHIN_S = 10.0  # the sink must have acknowledged by then what is compared
VISIBLE_WITHIN_S = 10.0  # and shows it by then
POLL_S, AGAIN_S = 0.1, 1.0
ANSWER_WITHIN_S = 30.0  # a sink has limits of its own; this one is for those that have none

T = TypeVar("T")


class Stored(Protocol):
    """The trades that are stored here. Both methods may wait, and hold up the calling greenlet alone."""

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns), each once. Raises StorageError."""

    def reached(self, within_s: float) -> bool:
        """Wait until the sink has acknowledged everything that is stored now; return whether it has in time."""


ReadHere = Callable[[int, int, int], bool]  # instrument, from and to in ns: whether every trade of it came here


def always(instrument: int, start_ns: int, end_ns: int) -> bool:
    """Return that it was read here, as a collector that is alone reads everything."""
    return True


@dataclass(slots=True)
class Compared:
    """The result of one comparison. ms: the time of each query of the sink, None for one that failed. late: see `reached`."""

    ms: list[float | None] = field(default_factory=list)
    trades: int = 0
    late: bool = False
    problem: str = ""
    differences: Differences | None = None


class Comparison:
    """Compares one sink. `sink`: an instance of its own, used in this object's thread alone; it need not be open."""

    def __init__(self, sink: Sink, stored: Stored, catalogue: Catalogue, clock: Clock, window_s: float, instruments: int,
                 visible_within_s: float = VISIBLE_WITHIN_S, read_here: ReadHere = always) -> None:
        self._sink, self._stored, self._catalogue, self._clock = sink, stored, catalogue, clock
        self._window_ns, self._instruments, self._visible_within_s = int(window_s * NS_PER_S), instruments, visible_within_s
        self._read_here = read_here
        self._thread = ThreadPool(1)
        self._next, self._turn = 0, 0

    def run(self, ids: Sequence[int], since_ns: int) -> Compared | None:
        """Compare the next few of these instruments, in turn over the newest window and any other one since `since_ns`.

        Return None as long as there is nothing to compare. Raises StorageError where memory and journal cannot be asked.
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
        """Return the next few instruments that were read here in this time."""
        chosen: list[int] = []
        for _ in range(len(ids)):
            if len(chosen) == self._instruments:
                break
            instrument = ids[self._next % len(ids)]
            self._next = (self._next + 1) % len(ids)
            if self._read_here(instrument, start_ns, end_ns):
                chosen.append(instrument)
        return chosen

    def _compare(self, ids: Sequence[int], start_ns: int, end_ns: int) -> Compared:
        result = Compared()
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

    def _ask(self, ids: Sequence[int], start_ns: int, end_ns: int, result: Compared) -> TradeBatch | None:
        """Ask the sink once, and note the time that it took; return None where it did not answer."""
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
        with gevent.Timeout(ANSWER_WITHIN_S, ServiceUnavailable(f"no answer in {ANSWER_WITHIN_S:.0f} s")):
            result: T = self._thread.apply(function, arguments)
            return result
