"""Measure how long a notice takes until its window is open, and the past of its coin until it is out of memory.

A board answers from memory with a list of 20 notices, one of them new; a source that pushes delivers one. Threads and the ledger
on disk are those of a collector. `poll_ms` and `push_ms` begin with the answer or the message, and end when the window is to be
opened: the listing is durable by then. `past_ms` is of the trades that an archive asks for, 20 minutes up to now, of a coin with
1 % of all trades (`_busiest`: 5.5 %); `past_window_ms` of the last 20 s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from gevent.threadpool import ThreadPool
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.hookspecs import PushLink, PushSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.push_watch import PushWatch
from pumpwatch.listing.watch import Watch
from pumpwatch.model import Listing
from pumpwatch.net.http import Response
from pumpwatch.stats import Stats
from pumpwatch.store.in_thread import in_thread
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.recent import Recent
from tests.bench.generate import Trades
from tests.bench.stores import ASKED_RANK, BUSIEST_RANK, RATE, START_NS, WINDOW_NS, fill
from tests.listing.board_server import listing_of, row

ROWS = 20
WARM_UP = 5
PAST_NS = 20 * 60 * NS_PER_S
PAST_ROUNDS = 15
OLD = "랠리(RLY) 거래지원 종료 안내 (12/22 15:00)"


def triggers(folder: Path, rounds: int, trades: int) -> dict[str, Any]:
    """Return the figures, measured in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.triggers", str(folder), str(rounds), str(trades)],
                          capture_output=True, text=True, check=True, timeout=900)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


class LeapingClock(Clock):
    """The clock of the machine, whose monotonic time leaps on demand: a source may open few windows a minute."""

    def __init__(self) -> None:
        self.leapt_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.leapt_s


class Sources:
    """Both kinds of source on a ledger of their own. opened_s: when each window was to be opened."""

    def __init__(self, folder: Path) -> None:
        self.clock = LeapingClock()
        self.opened_s: list[float] = []
        self._ledger = Ledger(folder)
        context = IntakeContext(ledger=ListingLedger(in_thread(self._ledger, ThreadPool(1))), clock=self.clock, stats=Stats(),
                                on_listing=self._open)
        pool = ThreadPool(2)

        def offload(function: Callable[..., Any], /, *args: Any) -> Any:
            return pool.apply(function, args)

        def listen(url: str, link: PushLink) -> None:
            """Bring nothing: the bench delivers."""

        self._rows = [row(number, OLD, self.clock.now_ns() - 3600 * NS_PER_S) for number in range(ROWS)]
        self._number = ROWS
        self._answered_s = 0.0
        self._watch = Watch(UPBIT, self._fetch, context, url="http://board.test", offload=offload)
        self._push = PushWatch(PushSource(name="push", exchange="bithumb", listen=listen, parse=UPBIT.parse,
                                          verdict=UPBIT.verdict), context, offload=offload)
        self._watch.poll()

    def _open(self, listing: Listing) -> None:
        self.opened_s.append(time.perf_counter())

    def _fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        body = listing_of(self._rows)
        self._answered_s = time.perf_counter()
        return Response(200, {}, body)

    def _new(self) -> dict[str, Any]:
        self._number += 1
        self.clock.leapt_s += 60.0
        return row(self._number, f"카이트(C{self._number}) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", self.clock.now_ns())

    def poll_ms(self) -> float:
        """Poll a board with one new notice."""
        self._rows = [self._new(), *self._rows[:ROWS - 1]]
        self._watch.poll()
        return (self.opened_s[-1] - self._answered_s) * 1000

    def push_ms(self) -> float:
        """Deliver one notice."""
        body = listing_of([self._new()])
        began_s = time.perf_counter()
        self._push.deliver(body)
        return (self.opened_s[-1] - began_s) * 1000

    def end(self) -> None:
        """Close the ledger."""
        self._ledger.close()


def measure(folder: Path, rounds: int, trades: int) -> dict[str, Any]:
    """Return medians and p95 of notices, and medians of the past at that many trades in memory."""
    figures: dict[str, Any] = {"rounds": rounds}
    sources = Sources(folder)
    for name, act in (("poll", sources.poll_ms), ("push", sources.push_ms)):
        taken = [act() for _ in range(rounds + WARM_UP)][WARM_UP:]
        figures |= {f"{name}_ms": round(median(taken), 2), f"{name}_p95_ms": round(float(np.percentile(taken, 95)), 2)}
    assert len(sources.opened_s) == 2 * (rounds + WARM_UP)
    sources.end()
    return figures | past(trades)


def past(trades: int) -> dict[str, Any]:
    """Return how long the past of a coin takes from memory."""
    stream, store = Trades(Catalogue(), START_NS, RATE), Recent(21)
    figures: dict[str, Any] = {"in_memory": fill(store, stream, trades)}
    for suffix, rank in (("", ASKED_RANK), ("_busiest", BUSIEST_RANK)):
        for name, span_ns in (("past", PAST_NS), ("past_window", WINDOW_NS)):
            taken, rows = [], 0
            for _ in range(PAST_ROUNDS):
                began_s = time.perf_counter()
                rows = len(store.query(stream.coin(rank), stream.now_ns - span_ns, stream.now_ns))
                taken.append((time.perf_counter() - began_s) * 1000)
            figures |= {f"{name}{suffix}_ms": round(median(taken), 1), f"{name}{suffix}_rows": rows}
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
