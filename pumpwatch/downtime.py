"""The gap that is left on a venue by a time in which no collector ran."""

from __future__ import annotations

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import DISORDER_NS, Gap, IdKind
from pumpwatch.records import NOT_RUNNING
from pumpwatch.venue import Venue

KILLED = f"{NOT_RUNNING}, after it was killed"


def downtime(venue: Venue, since_ns: int, until_ns: int, *, clean: bool) -> Gap:
    """Return the gap of a whole venue between its last received trade and `until_ns`, both in ns.

    After a kill it begins earlier, unless ids would show a loss: a connection may have been dead, and not known as that.
    """
    unseen_ns = 0 if clean else _unseen_ns(venue)
    return Gap(exchange=venue.exchange, market_type=venue.market_type, from_ns=since_ns - DISORDER_NS - unseen_ns,
               to_ns=until_ns, reason=NOT_RUNNING if clean else KILLED)


def last_received_ns(venue: Venue, gap: Gap) -> int | None:
    """Return when the killed collector received its last trade of the venue, None if the gap begins there anyway."""
    unseen_ns = _unseen_ns(venue)
    return gap.from_ns + DISORDER_NS + unseen_ns if unseen_ns and gap.reason == KILLED else None


def _unseen_ns(venue: Venue) -> int:
    return 0 if venue.id_kind is IdKind.CONTIGUOUS else int(venue.stale_after_s * NS_PER_S)
