"""Notify the channels of listings and alerts, without delaying the caller."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import msgspec
from gevent.event import Event as Signal
from gevent.threadpool import ThreadPool

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import StorageError
from pumpwatch.notify.channels import Channel
from pumpwatch.notify.events import AnyEvent
from pumpwatch.notify.outbox import KEPT_S, RETRY_S, MessageLedger, Outbox, forget
from pumpwatch.printable import printable
from pumpwatch.stats import Stats
from pumpwatch.store.messages import StoredMessage
from pumpwatch.supervisor import guarded

log = logging.getLogger(__name__)

LOAD_AGAIN_S = 30.0
GATHER_S = 0.1  # so that all coins of one notice are stored before the ledger gets their messages
REMEMBERED = 10_000  # event ids of this run, so that none is sent twice

MakeEvent = Callable[[], AnyEvent]


def nothing_missed(since_ns: int) -> list[MakeEvent]:
    """Return no event."""
    return []


class Notifier:
    """Turn events into messages and pass them to the outboxes. `notify` never waits; run `bodies` as greenlets.

    missed: returns every recorded event since a time (ns UTC), whether or not it was sent; it may block and raise StorageError.
    It is called once, so that a kill loses no message: those not sent before are sent then. on_told: called with the id of each
    event once its message has left every outbox.
    """

    def __init__(self, channels: Sequence[Channel], ledger: Callable[[], MessageLedger], clock: Clock, stats: Stats,
                 retry_s: float = RETRY_S, missed: Callable[[int], Sequence[MakeEvent]] = nothing_missed,
                 on_told: Callable[[str], None] = forget) -> None:
        self._ledger, self._clock, self._missed, self._on_told = ledger, clock, missed, on_told
        self._outboxes = {channel.name: Outbox(channel, ledger, clock, stats, retry_s, self._done) for channel in channels}
        self._news: deque[MakeEvent] = deque()
        self._told: dict[str, None] = {}
        self._thread = ThreadPool(1)  # events read archives
        self._wake = Signal()
        self._stopped = self._loaded = self._ledger_failed = False

    def notify(self, make: MakeEvent) -> None:
        """Send an event to the channels. `make` is called later, in a thread, to create it. Never blocks, never raises."""
        if self._outboxes:
            self._news.append(make)
            self._wake.set()

    def mark_sent_elsewhere(self, event_id: str) -> None:
        """Record that another collector has sent an event. Raises StorageError."""
        if event_id not in self._told:
            self._told[event_id] = None
            self._ledger().store_messages([], [event_id], self._clock.now_ns())

    def _done(self, event_id: str) -> None:
        if not any(outbox.has(event_id) for outbox in self._outboxes.values()):
            self._on_told(event_id)

    def take_pending(self) -> list[MakeEvent]:
        """Remove and return the events that no outbox has yet, for the notifier that replaces this one."""
        news = list(self._news)
        self._news.clear()
        return news

    def bodies(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the name and body of each greenlet; nothing if no channel is configured."""
        if self._outboxes:
            yield "notify", self.run
        for name, outbox in self._outboxes.items():
            yield f"channel {name}", outbox.run

    def run(self) -> None:
        """Load the messages that an earlier run left, then pass each event to the outboxes, until `stop`."""
        while not self._stopped:
            self._wake.clear()
            if not self._loaded:
                self._load()
            if self._news:
                gevent.sleep(GATHER_S)
                made = [self._make(self._news.popleft()) for _ in range(len(self._news))]
                self._hand_over([event for event in made if event is not None])
            else:
                self._wake.wait(None if self._loaded else LOAD_AGAIN_S)

    def stop(self) -> None:
        """End every body. The messages that wait are sent after the next start."""
        self._stopped = True
        self._wake.set()
        for outbox in self._outboxes.values():
            outbox.stop()

    def status(self) -> list[dict[str, Any]]:
        """Return one row per channel: name, kind, up, reason, sent, failed, given_up, waiting."""
        return [outbox.status() for outbox in self._outboxes.values()]

    def _load(self) -> None:
        try:
            ledger, kept_from_ns = self._ledger(), self._clock.now_ns() - int(KEPT_S * NS_PER_S)
            left = ledger.delete_messages_except(list(self._outboxes))
            waiting = ledger.messages()
            since_ns = ledger.messages_since(self._clock.now_ns(), kept_from_ns - int(KEPT_S * NS_PER_S))
            told = ledger.told_event_ids()
            self._news.extend(self._missed(max(since_ns, kept_from_ns)))
        except StorageError as error:
            self._log_ledger_failed(error)
            return
        self._loaded = True
        self._told |= dict.fromkeys(told)
        for message in waiting:
            self._told[message.event_id] = None
            self._outboxes[message.channel].add(message)
        if left:
            log.warning("messages dropped messages=%d reason=their channels are no longer in the config", left)

    def _make(self, make: MakeEvent) -> AnyEvent | None:
        """Make an event in the thread; return None if that fails, so that the other events still go out."""
        made: list[AnyEvent] = []

        def failed(error: Exception) -> None:
            log.error("event not sent reason=%s", printable(f"{type(error).__name__}: {error}"), exc_info=error)

        guarded(lambda: made.append(self._thread.apply(make)), failed)
        return made[0] if made else None

    def _hand_over(self, events: Sequence[AnyEvent]) -> None:
        """Store a message for each channel that wants an event, then pass it to its outbox, even if storing failed."""
        messages: list[StoredMessage] = []
        told: list[str] = []
        for event in events:
            if event.id in self._told:
                continue
            self._told[event.id] = None
            told.append(event.id)
            content = msgspec.json.encode(event).decode()
            messages += [StoredMessage(name, event.id, content, self._clock.now_ns())
                         for name, outbox in self._outboxes.items() if outbox.channel.wants(event)]
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        if not told:
            return
        try:
            self._ledger().store_messages(messages, told, self._clock.now_ns())
            self._ledger_failed = False
        except StorageError as error:
            self._log_ledger_failed(error)
        for message in messages:
            self._outboxes[message.channel].add(message)
        for event_id in set(told) - {message.event_id for message in messages}:
            self._done(event_id)  # no channel wants it

    def _log_ledger_failed(self, error: StorageError) -> None:
        if not self._ledger_failed:
            log.warning("messages are sent but not stored reason=%s: a restart may lose those that wait", error.message)
        self._ledger_failed = True
