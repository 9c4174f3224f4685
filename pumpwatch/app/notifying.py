"""Connect listings and alerts to the channels that are told about them."""

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

STOP_S = 2.0  # a try that takes longer is made again by the channel that follows
LEDGER_ANSWER_S = 5.0  # a message waits so long for the ledger, then it is sent without being stored


class Notifying:
    """The notifier of a collector. `seen` and `written` only leave a note: neither waits for anything.

    A listing and its archive are on record before anyone is told. So a start tells what a kill left untold.

    If several collectors work as one, one of them tells about listings. tells: whether it is this one now. on_told is called
    with the id of each event that no channel waits for any more. Alerts are about one collector, so each tells its own.
    """

    def __init__(self, collector: CollectorParts) -> None:
        self.tells: Callable[[], bool] = always
        self.on_told: Callable[[str], None] = forget
        self._collector, self._fresh_s = collector, collector.config.listing.fresh_s
        self.notifier = Notifier(make_channels(collector.config, collector.clock), self._ledger, collector.clock, collector.stats,
                                 missed=self._on_record, on_told=self._told)

    def start(self, config: Config | None = None) -> None:
        """Start the greenlets, and warn of secrets that others can read."""
        for reason, keys in exposed_by_file(config or self._collector.config).items():
            log.warning("a secret can be read by every user key=%s reason='%s'", ",".join(keys), reason)
        for name, body in self.notifier.bodies():
            self._collector.supervisor.spawn(name, body)

    def replace_channels(self, config: Config) -> None:
        """Tell other channels from now on; messages that wait for a channel that stays are kept. Raises ConfigError, with no
        channel changed."""
        channels = make_channels(config, self._collector.clock)
        self.notifier.stop()
        for name, _ in self.notifier.bodies():
            self._collector.supervisor.stop(name, STOP_S)
        news, self.notifier = self.notifier.take_pending(), Notifier(
            channels, self._ledger, self._collector.clock, self._collector.stats, missed=self._on_record, on_told=self._told)
        for make in news:
            self.notifier.notify(make)
        self.start(config)

    def _ledger(self) -> Ledger:
        return in_thread(self._collector.journal.ledger, self._collector.ledger_thread, within_s=LEDGER_ANSWER_S,
                         late="the ledger does not answer")

    def _on_record(self, since_ns: int) -> list[MakeEvent]:
        """Return the events of every alert since then, and of every listing that was seen and whose window was opened."""
        return [*self._collector.alert_events(since_ns), *(self._of_listings(since_ns) if self.tells() else ())]

    def _of_listings(self, since_ns: int) -> list[MakeEvent]:
        records = [record for record in self._ledger().listings()
                   if record.listing.detected_at_ns >= since_ns and (record.archive or record.trades is None)]
        return [*(partial(seen, record.listing, self._fresh_s) for record in records),
                *(partial(archived, record.listing, self._fresh_s, Path(record.archive), record.trades or 0,
                          [record.problem] if record.problem else []) for record in records if record.archive)]

    def stop(self, within_s: float) -> None:
        """Wait for the tries under way, so that a message that is taken now is not sent again by the next start; end the rest."""
        deadline_s = self._collector.clock.monotonic() + within_s
        for name, _ in self.notifier.bodies():
            self._collector.supervisor.stop(name, max(0.0, deadline_s - self._collector.clock.monotonic()))
        end_children()

    def take_over(self, since_ns: int) -> None:
        """Announce the listings since a time (ns UTC) that nobody is known to have announced. Raises StorageError."""
        for make in self._of_listings(since_ns):
            self.notifier.notify(make)

    def _told(self, event_id: str) -> None:
        self.on_told(event_id)

    def seen(self, listing: Listing) -> None:
        """Tell that a listing's window was opened."""
        if not self.tells():
            return
        self.notifier.notify(partial(seen, listing, self._fresh_s))

    def written(self, listing: Listing, archive: Archive, problems: Sequence[str]) -> None:
        """Tell that a listing's archive was written."""
        if not self.tells():
            return
        self.notifier.notify(partial(archived, listing, self._fresh_s, archive.path, archive.trades, tuple(problems)))
