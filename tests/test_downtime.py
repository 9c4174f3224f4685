"""The gap of a time without a collector."""

from __future__ import annotations

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.downtime import KILLED, downtime, last_received_ns
from pumpwatch.model import DISORDER_NS, IdKind
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
