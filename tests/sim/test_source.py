"""Live trades come at their rate, and never too many at once."""

from __future__ import annotations

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.sim.source import MOST_AT_ONCE, LiveSource
from tests.sim.fakes import START_NS, venue_of


def test_trades_come_at_their_rate_with_the_rest_carried_over() -> None:
    venue = venue_of(FakeClock())
    source = LiveSource(venue, rate=15)
    for second in range(4):
        source.prepare()
        source.advance(0.1, START_NS + second * NS_PER_S, START_NS + (second + 1) * NS_PER_S)
    assert venue.made == 6 and not source.finished()


def test_the_trades_beyond_a_limit_are_late() -> None:
    venue = venue_of(FakeClock())
    source = LiveSource(venue, rate=MOST_AT_ONCE + 1000)
    source.advance(1.0, START_NS, START_NS + NS_PER_S)
    assert (venue.made, source.behind()) == (MOST_AT_ONCE, 1000)
    source.advance(0.0, START_NS, START_NS + NS_PER_S)
    assert (venue.made, source.behind()) == (MOST_AT_ONCE + 1000, 0)
