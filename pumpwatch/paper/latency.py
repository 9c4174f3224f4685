"""Latency: from the arrival of a trade to the strategy, and from an order to the venue.

Fixed: both are the time that the run's settings give. Measured: an order's latency is drawn from the tape's delays between the
venue's time of a trade and its arrival here; a trade is seen when it was received, because its delay is recorded already.
"""

from __future__ import annotations

import random

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import Int64
from pumpwatch.paper.settings import MEASURED, Settings
from pumpwatch.paper.tape import Tape

QUANTILES = 1000  # the measured delays of a market are reduced to this many
LONGEST_NS = 10 * NS_PER_S  # a trade with a longer delay was fetched from the venue's history


class LatencyModel:
    """The latencies of one replay. view_ns: from the arrival of a trade to the strategy."""

    def __init__(self, tape: Tape, settings: Settings, numbers: random.Random) -> None:
        self._numbers = numbers
        self._fixed_ns = round(settings.latency_ms * NS_PER_MS)
        self._delays: dict[int, Int64] = {}
        self._tape = tape
        self._measured = settings.latency == MEASURED
        self.view_ns = 0 if self._measured else self._fixed_ns

    def order_ns(self, number: int) -> int:
        """Return the latency of an order to a market, by its place."""
        if not self._measured:
            return self._fixed_ns
        delays = self._of(number)
        return int(delays[int(self._numbers.random() * len(delays))]) if len(delays) else self._fixed_ns

    def _of(self, number: int) -> Int64:
        """Return the delays of a market in ascending order; those of all markets if it has none."""
        if number not in self._delays:
            tape = self._tape
            delays = tape.received_at - tape.timestamp
            usable = (delays > 0) & (delays < LONGEST_NS)
            own = usable & (tape.market == number)
            found = delays[own] if own.any() else delays[usable]
            places = np.linspace(0, len(found) - 1, min(QUANTILES, len(found))).astype(np.int64)
            self._delays[number] = np.sort(found)[places]
        return self._delays[number]
