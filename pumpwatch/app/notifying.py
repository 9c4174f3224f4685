"""Connect listings and alerts to the channels that send messages about them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pumpwatch.app.parts import CollectorParts
from pumpwatch.config import Config
from pumpwatch.listing.archive import Archive
from pumpwatch.listing.context import always
from pumpwatch.model import Listing
from pumpwatch.notify.channels import make_channels
from pumpwatch.notify.child import end_children
from pumpwatch.notify.events import archived, seen
from pumpwatch.notify.notifier import MakeEvent, Notifier
from pumpwatch.notify.outbox import forget
from pumpwatch.ops.exposed_secrets import exposed_by_file
from pumpwatch.store.in_thread import in_thread
from pumpwatch.store.ledger import Ledger

log = logging.getLogger(__name__)

STOP_S = 2.0  # a try that takes longer is repeated by the new channel
LEDGER_ANSWER_S = 5.0  # a message waits this long for the ledger; then it is sent without being stored


class Notifying:
    """The notifier of a collector. `seen` and `written` only queue a message, so they never wait.

    A listing and its archive are stored before a message is sent. So a start sends the messages that a kill prevented.

    In a cluster one member sends messages about listings. tells: whether that is this one now. on_told is called with the id of
    each event that every channel has sent or given up. Each member sends messages about its own alerts.
    """

    def __init__(self, collector: CollectorParts) -> None:
        self.tells: Callable[[], bool] = always
        self.on_told: Callable[[str], None] = forget
        self._collector, self._fresh_s = collector, collector.config.listing.fresh_s
        self.notifier = Notifier(make_channels(collector.config, collector.clock), self._ledger, collector.clock, collector.stats,
                                 missed=self._on_record, on_told=self._event_sent)

    def start(self, config: Config | None = None) -> None:
        """Start the greenlets, and log secrets that every user can read."""
        for reason, keys in exposed_by_file(config or self._collector.config).items():
            log.warning("a secret can be read by every user key=%s reason='%s'", ",".join(keys), reason)
        for name, body in self.notifier.bodies():
            self._collector.supervisor.spawn(name, body)

    def replace_channels(self, config: Config) -> None:
        """Use other channels from now on; messages that wait for a channel that stays are kept.

        Raises ConfigError before any channel is changed.
        """
        channels = make_channels(config, self._collector.clock)
        self.notifier.stop()
        for name, _ in self.notifier.bodies():
            self._collector.supervisor.stop(name, STOP_S)
        news, self.notifier = self.notifier.take_pending(), Notifier(
            channels, self._ledger, self._collector.clock, self._collector.stats, missed=self._on_record,
            on_told=self._event_sent)
        for make in news:
            self.notifier.notify(make)
        self.start(config)

    def _ledger(self) -> Ledger:
        return in_thread(self._collector.journal.ledger, self._collector.ledger_thread, within_s=LEDGER_ANSWER_S,
                         late="the ledger does not answer")

    def _on_record(self, since_ns: int) -> list[MakeEvent]:
        """Return the events of every alert since then, and of every listing whose window was opened since then."""
        return [*self._collector.alert_events(since_ns), *(self._of_listings(since_ns) if self.tells() else ())]

    def _of_listings(self, since_ns: int) -> list[MakeEvent]:
        records = [record for record in self._ledger().listings()
                   if record.listing.detected_at_ns >= since_ns and (record.archive or record.trades is None)]
        return [*(partial(seen, record.listing, self._fresh_s) for record in records),
                *(partial(archived, record.listing, self._fresh_s, Path(record.archive), record.trades or 0,
                          [record.problem] if record.problem else []) for record in records if record.archive)]

    def stop(self, within_s: float) -> None:
        """Wait for the running tries, so that the next start does not repeat a message that is sent now; end the rest."""
        deadline_s = self._collector.clock.monotonic() + within_s
        for name, _ in self.notifier.bodies():
            self._collector.supervisor.stop(name, max(0.0, deadline_s - self._collector.clock.monotonic()))
        end_children()

    def take_over(self, since_ns: int) -> None:
        """Send messages about listings since a time (ns UTC) that no member is known to have sent. Raises StorageError."""
        for make in self._of_listings(since_ns):
            self.notifier.notify(make)

    def _event_sent(self, event_id: str) -> None:
        self.on_told(event_id)

    def seen(self, listing: Listing) -> None:
        """Send a message that a listing's window was opened."""
        if not self.tells():
            return
        self.notifier.notify(partial(seen, listing, self._fresh_s))

    def written(self, listing: Listing, archive: Archive, problems: Sequence[str]) -> None:
        """Send a message that a listing's archive was written."""
        if not self.tells():
            return
        self.notifier.notify(partial(archived, listing, self._fresh_s, archive.path, archive.trades, tuple(problems)))
