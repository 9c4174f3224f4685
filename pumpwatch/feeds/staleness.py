"""How regularly a connection's trades come, and when their absence means something.

A server may answer every ping and send no trade any more. Only the connection's own past tells that from a quiet
market: the longest quiet of the last hours, times four, never less than the venue's own `stale_after_s`. The same holds
for the trades of a single symbol.
"""

from __future__ import annotations

import math

LOOKS = 12  # in the time after which a venue's connection is stale
LONGEST_LOOK_S = 5.0
ENOUGH = 20  # looks that found trades, before anything is concluded
SPAN_S, SPAN_LOOKS = 3600.0, 100  # what is learned is forgotten after one to two spans, of both time and trades
OVERDUE, UNUSUAL = 4.0, 2.0  # times the longest quiet
DOUBLINGS = 6
UNHEARD = 0.5  # times the venue's own time: a connection that never had a trade is looked into before it is given up


class Staleness:
    """Outlives the connections that it is about. Told now and then when the last trade came; times are monotonic seconds."""

    def __init__(self, stale_after_s: float) -> None:
        self.look_s = min(LONGEST_LOOK_S, stale_after_s / LOOKS)
        self._stale_after_s = stale_after_s
        self._traded_at_ns = 0
        self._quiet_since = self._looked_at = -math.inf
        self._span_began = math.inf
        self._longest_s = self._longest_before_s = 0.0
        self._found = 0
        self._fruitless = 0

    def resume(self, now: float, traded_at_ns: int = 0) -> None:
        """Begin with a connection that just stands; the time without one teaches nothing.

        traded_at_ns is what `look` will be told until the first trade of this connection.
        """
        self._traded_at_ns, self._quiet_since, self._looked_at = traded_at_ns, now, now
        self._span_began = min(self._span_began, now)

    def look(self, now: float, traded_at_ns: int) -> None:
        """Take in when the connection's last trade came (0: none yet)."""
        if now - self._looked_at < self.look_s:
            return
        self._looked_at = now
        if traded_at_ns == self._traded_at_ns:
            return
        self._longest_s = max(self._longest_s, now - self._quiet_since)
        self._found += 1
        self._traded_at_ns, self._quiet_since, self._fruitless = traded_at_ns, now, 0
        if self._found >= SPAN_LOOKS and now - self._span_began > SPAN_S:
            self._longest_before_s = self._longest_s
            self._longest_s, self._found, self._span_began = 0.0, 0, now

    def give_up(self) -> None:
        """Count a quiet of which the most was made; the next must last twice as long."""
        self._fruitless = min(self._fruitless + 1, DOUBLINGS)

    def begin_anew(self) -> None:
        """Forget the quiets of which the most was made: the next is judged like the first."""
        self._fruitless = 0

    def quiet_s(self, now: float) -> float:
        """Return for how long no trade has come."""
        return now - self._quiet_since if self._quiet_since > -math.inf else 0.0

    @property
    def _usual_s(self) -> float:
        """The longest quiet known, infinite before enough is known."""
        if self._found < ENOUGH and not self._longest_before_s:
            return math.inf
        return max(self._longest_s, self._longest_before_s)

    @property
    def stale_s(self) -> float:
        """The venue's own time after which a silent connection is dead, longer after some that were left in vain."""
        return self._stale_after_s * 2.0**self._fruitless

    def unusual(self, now: float) -> bool:
        """Whether it has been quiet for longer than it ever was."""
        return self.quiet_s(now) > UNUSUAL * self._usual_s

    def patience_s(self, unknown_s: float = math.inf) -> float:
        """Return how long a quiet is still usual: `unknown_s`, or the venue's own time if longer, before enough is known."""
        usual_s = self._usual_s
        expected_s = OVERDUE * usual_s if usual_s < math.inf else unknown_s
        return float(max(self._stale_after_s, expected_s) * 2**self._fruitless)

    def overdue(self, now: float, unknown_s: float = math.inf) -> bool:
        """Whether it has been quiet for so long that it must be taken for dead."""
        return self.quiet_s(now) > self.patience_s(unknown_s)
