"""The laps of `burst`, sent a frame at a time: each frame leaves at its own moment, as on a real network.

Ids and times of the next PLAN_S are written ahead in one step for all connections. Only the encryption and the send remain
when a frame is due, so a process with its own core can send frames that are 200 us apart. After a delay, the overdue frames still
leave one by one, APART_S after each other, since no network would have joined them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.sim.burst import BurstSource, JoinedLaps
from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.ground_truth import Records
from pumpwatch.sim.venue import SimVenue

PLAN_S = 0.02
APART_S = 0.000_08  # between two frames of a simulation
LATEST_S = 0.05  # frames that are later leave at once, because this process is too slow to send them one by one
PHASE = 0.382  # of the time between two frames: each venue is shifted by it, so that venues do not send at the same time


class FramePlan:
    """The next frames of all connections, in the order in which they leave."""

    def __init__(self, connections: Sequence[ClientConnection], frames: Sequence[Any], records: Records,
                 due_s: Sequence[float]) -> None:
        self.connections, self.frames, self.records, self.due_s = connections, frames, records, due_s
        self.next = 0

    @property
    def ended(self) -> bool:
        """Return whether all frames have left."""
        return self.next == len(self.frames)


class Departures:
    """Keeps the frames of all venues of a simulation apart."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def leave(self, now_s: float, late_s: float) -> bool:
        """Return whether a frame that is `late_s` late may leave at `now_s` (monotonic seconds); if so, record that it left."""
        if now_s - self._last_s < APART_S and late_s < LATEST_S:
            return False
        self._last_s = now_s
        return True


class PacedSource(BurstSource):
    """A venue's laps, a frame at a time. `departures` is shared by all venues."""

    def __init__(self, venue: SimVenue, rate: float, lap_trades: int, departures: Departures) -> None:
        super().__init__(venue, rate, lap_trades)
        self._departures = departures
        self._random = np.random.default_rng(venue.number)
        self._plan: FramePlan | None = None
        self._planned_laps: JoinedLaps | None = None
        self._traded_s = self._planned_s = 0.0
        self._phase = venue.number * PHASE % 1

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Send the frames that are due; plan the next ones when none is left."""
        self._traded_s += seconds
        self.prepare()
        if self._plan is not None and self._planned_laps is not self._laps:
            self._send(self._plan, float("inf"))  # connections have changed: send the rest, because no id may be skipped
        while self._laps is not None:
            if self._plan is None or self._plan.ended:
                if self._planned_s > self._traded_s:
                    return
                self._plan_next(self._laps, to_ns)
            assert self._plan is not None
            self._send(self._plan, self._traded_s)
            if not self._plan.ended:
                return

    def behind(self) -> int:
        """Return 0: the frames of a slow connection wait in its queue."""
        return 0

    def _plan_next(self, laps: JoinedLaps, now_ns: int) -> None:
        began_s = max(self._planned_s, self._traded_s - PLAN_S)
        self._planned_s = began_s + PLAN_S
        connections, frames, picked = laps.draw(self.rate * PLAN_S, self._random)
        due_s = began_s + (np.arange(len(picked)) + self._phase) * (PLAN_S / max(len(picked), 1))
        ahead_ns = ((due_s - self._traded_s) * NS_PER_S).astype(np.int64)
        self._plan = FramePlan(connections, frames, laps.write_numbers(picked, now_ns + ahead_ns), due_s.tolist())
        self._planned_laps = laps

    def _send(self, plan: FramePlan, until_s: float) -> None:
        begin, clock = plan.next, self._venue.clock
        sent = []
        while plan.next < len(plan.frames) and plan.due_s[plan.next] <= until_s:
            if not self._departures.leave(clock.monotonic(), until_s - plan.due_s[plan.next]):
                break
            record = plan.records[plan.next:plan.next + 1]
            record["sent_at"] = clock.now_ns()
            if plan.connections[plan.next].push([plan.frames[plan.next]], record):
                sent.append(plan.next)
            plan.next += 1
        if sent:
            whole = len(sent) == plan.next - begin
            self._venue.truth.add(plan.records[begin:plan.next] if whole else plan.records[sent])
