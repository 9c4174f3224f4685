"""The gap of a time without a collector."""

from __future__ import annotations

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.downtime import KILLED, KILLED_BESIDE, as_read, downtime, last_received_ns
from pumpwatch.model import DISORDER_NS, IdKind
from pumpwatch.records import BESIDE, ConnectionEvent
from tests.backfill.scripted import START_NS, scripted_venue

UNTIL_NS = START_NS + 100 * NS_PER_S


@pytest.mark.parametrize("kind", [IdKind.UNIQUE, IdKind.MONOTONIC, IdKind.NONE])
def test_after_a_kill_it_begins_as_early_as_a_connection_may_have_died_unseen(kind):
    venue = scripted_venue(kind=kind)
    gap = downtime(venue, START_NS, UNTIL_NS, clean=False)
    assert (gap.from_ns, gap.to_ns) == (START_NS - DISORDER_NS - int(venue.stale_after_s * NS_PER_S), UNTIL_NS)
    assert gap.reason == KILLED and last_received_ns(venue, gap) == START_NS


def test_after_an_orderly_end_or_with_contiguous_ids_it_begins_at_the_last_trade():
    for kind, clean in ((IdKind.UNIQUE, True), (IdKind.CONTIGUOUS, False)):
        venue = scripted_venue(kind=kind)
        gap = downtime(venue, START_NS, UNTIL_NS, clean=clean)
        assert gap.from_ns == START_NS - DISORDER_NS and last_received_ns(venue, gap) is None


def test_the_last_trade_of_a_symbol_says_nothing_if_a_connection_was_opened_beside_another_in_that_time():
    venue = scripted_venue(kind=IdKind.UNIQUE)
    gap = downtime(venue, START_NS, UNTIL_NS, clean=False)
    within = ConnectionEvent(gap.from_ns + 1, venue.exchange, venue.market_type, 3, BESIDE, "")
    others = [ConnectionEvent(gap.from_ns - 1, venue.exchange, venue.market_type, 3, BESIDE, ""),
              ConnectionEvent(gap.from_ns + 1, "other", venue.market_type, 3, BESIDE, ""),
              ConnectionEvent(gap.from_ns + 1, venue.exchange, venue.market_type, 3, "up", "")]
    assert as_read(gap, others) is gap
    changed = as_read(gap, [*others, within])
    assert changed.reason == KILLED_BESIDE and last_received_ns(venue, changed) is None
    assert downtime(venue, START_NS, UNTIL_NS, clean=False, beside=True) == changed
    ended = downtime(venue, START_NS, UNTIL_NS, clean=True)
    assert as_read(ended, [within]) is ended
