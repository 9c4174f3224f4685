"""Connect listings to the channels that are told about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from pumpwatch.app.parts import CollectorParts
from pumpwatch.listing.archive import Archive
from pumpwatch.model import Listing
from pumpwatch.notify.channels import make_channels
from pumpwatch.notify.events import archived, seen
from pumpwatch.notify.notifier import Notifier
from pumpwatch.ops.exposed_secrets import exposed_secrets
from pumpwatch.store.in_thread import in_thread

log = logging.getLogger(__name__)

LEDGER_ANSWER_S = 5.0  # a message waits so long for the ledger, then it is sent without being stored


class Notifying:
    """The notifier of a collector. `seen` and `written` only leave a note: neither waits for anything."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector, self._fresh_s = collector, collector.config.listing.fresh_s
        self.notifier = Notifier(
            make_channels(collector.config, collector.clock),
            lambda: in_thread(collector.journal.ledger, collector.ledger_thread, within_s=LEDGER_ANSWER_S,
                              late="the ledger does not answer"),
            collector.clock, collector.stats)

    def start(self) -> None:
        """Start the greenlets, and warn of secrets that others can read."""
        for key, reason in exposed_secrets(self._collector.config):
            log.warning("a secret can be read by every user key=%s reason=%s", key, reason)
        for name, body in self.notifier.bodies():
            self._collector.supervisor.spawn(name, body)

    def seen(self, listing: Listing) -> None:
        """Tell that a listing's window was opened."""
        self.notifier.tell(partial(seen, listing, self._fresh_s))

    def written(self, listing: Listing, archive: Archive, problems: Sequence[str]) -> None:
        """Tell that a listing's archive was written."""
        self.notifier.tell(partial(archived, listing, self._fresh_s, archive.path, archive.trades, tuple(problems)))
