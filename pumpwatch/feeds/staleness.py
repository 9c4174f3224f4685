"""Learns how regularly trades come, and decides when their absence is unusual.

A server may answer every ping and yet stop sending trades. Only the connection's own history can distinguish that from
an inactive market. A silence is too long if it lasts four times the longest silence of the last hours, and at least the venue's
`stale_after_s`. The same holds for the trades of a single symbol.
"""

from __future__ import annotations

import math

LOOKS = 12  # within `stale_after_s`
LONGEST_LOOK_S = 5.0
ENOUGH = 20  # looks that found trades, before any conclusion
SPAN_S, SPAN_LOOKS = 3600.0, 100  # a silence is forgotten after one to two spans, of both time and trades
OVERDUE, UNUSUAL = 4.0, 2.0  # times the longest silence
DOUBLINGS = 6
NEVER_TRADED = 0.5  # times `stale_after_s`: a connection that never had a trade is checked before it is given up


class Staleness:
    """Tracks the silences of a feed or a symbol, over all its connections. Times are monotonic seconds."""

    def __init__(self, stale_after_s: float) -> None:
        self.look_s = min(LONGEST_LOOK_S, stale_after_s / LOOKS)
        self._stale_after_s = stale_after_s
        self.traded_at_ns = 0
        self._silent_since = self._looked_at = -math.inf
        self._span_began = math.inf
        self._longest_s = self._longest_before_s = 0.0
        self._found = 0
        self._false_alarms = 0

    def resume(self, now: float, traded_at_ns: int = 0) -> None:
        """Begin with a connection that just came up; the time without a connection does not count as silence.

        traded_at_ns: the value that `look` gets until the first trade of this connection.
        """
        self.traded_at_ns, self._silent_since, self._looked_at = traded_at_ns, now, now
        self._span_began = min(self._span_began, now)

    def look(self, now: float, traded_at_ns: int) -> None:
        """Learn from the time of the connection's last trade (0: none yet)."""
        if now - self._looked_at < self.look_s:
            return
        self._looked_at = now
        if traded_at_ns == self.traded_at_ns:
            return
        self._longest_s = max(self._longest_s, now - self._silent_since)
        self._found += 1
        self.traded_at_ns, self._silent_since, self._false_alarms = traded_at_ns, now, 0
        if self._found >= SPAN_LOOKS and now - self._span_began > SPAN_S:
            self._longest_before_s = self._longest_s
            self._longest_s, self._found, self._span_began = 0.0, 0, now

    def record_false_alarm(self) -> None:
        """Record a false alarm; double the wait before the next one."""
        self._false_alarms = min(self._false_alarms + 1, DOUBLINGS)

    def reset_patience(self) -> None:
        """Forget the false alarms, so that the wait is as short as at first."""
        self._false_alarms = 0

    def silent_s(self, now: float) -> float:
        """Return for how many seconds no trade has come."""
        return now - self._silent_since if self._silent_since > -math.inf else 0.0

    @property
    def _usual_s(self) -> float:
        """The longest known silence; infinite before enough is known."""
        if self._found < ENOUGH and not self._longest_before_s:
            return math.inf
        return max(self._longest_s, self._longest_before_s)

    @property
    def stale_s(self) -> float:
        """The venue's `stale_after_s`, doubled by each false alarm."""
        return self._stale_after_s * 2.0**self._false_alarms

    def unusual(self, now: float) -> bool:
        """Return whether the silence is clearly longer than any before."""
        return self.silent_s(now) > UNUSUAL * self._usual_s

    def patience_s(self, unknown_s: float = math.inf) -> float:
        """Return how long a silence is acceptable; before enough is known, `unknown_s` or `stale_after_s` if that is longer."""
        usual_s = self._usual_s
        expected_s = OVERDUE * usual_s if usual_s < math.inf else unknown_s
        return float(max(self._stale_after_s, expected_s) * 2**self._false_alarms)

    def overdue(self, now: float, unknown_s: float = math.inf) -> bool:
        """Return whether the silence is so long that the connection must be considered dead."""
        return self.silent_s(now) > self.patience_s(unknown_s)
