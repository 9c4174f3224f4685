"""The end of the previous run on the same folder, and each venue's gap since then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pumpwatch.downtime import KILLED_BESIDE, as_read, downtime, last_received_ns
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap
from pumpwatch.ops.status_file import Unreadable, read_figures
from pumpwatch.records import ConnectionEvent
from pumpwatch.store.journal import Recovery
from pumpwatch.venue import Venue


def down_since_ns(venue: Venue, recovery: Recovery) -> int:
    """Return since when a venue's trades may be missing, ns since 1970; 0 if nothing is stored.

    That is the venue's newest trade, even if other venues have newer ones: the venue was down when the last run ended.
    """
    own = [at_ns for (exchange, market_type, _), (_, at_ns) in recovery.last_ids.items()
           if (exchange, market_type) == (venue.exchange, venue.market_type)]
    return min(recovery.last_received_at_ns, max(own, default=recovery.last_received_at_ns))


def ended_ns(folder: Path, now_ns: int) -> int:
    """Return when an earlier run on this folder last wrote its figures; 0 without one. It may not have stored a trade."""
    try:
        written_ns = int(read_figures(folder)["written_at_ns"])
    except Unreadable:
        return 0
    return min(written_ns, now_ns)


def gap_since(venue: Venue, since_ns: int, now_ns: int, events_since: Callable[[int], Iterable[ConnectionEvent]], *,
              clean: bool) -> Gap:
    """Return the gap of a venue since then; its reason tells whether trades before a kill came over several connections.

    events_since(from_ns): the recorded events of connections; may raise StorageError if the ledger does not answer.
    """
    down = downtime(venue, since_ns, max(since_ns, now_ns), clean=clean)
    if last_received_ns(venue, down) is None:
        return down
    try:
        return as_read(down, events_since(down.from_ns))
    except StorageError:  # nothing is known
        return replace(down, reason=KILLED_BESIDE)
