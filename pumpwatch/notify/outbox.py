"""One channel's messages: each is sent when due, and retried with back-off until the channel takes it or it is given up.

Messages wait in memory and in the ledger, so that they survive a restart. Three things are logged once each: the channel
fails, the first message is given up, the channel takes messages again. Everything in between is only counted. A message taken
just before a kill is sent again; the receiver recognises it by the event's id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
from gevent.event import Event as Signal
from gevent.threadpool import ThreadPool

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import StorageError
from pumpwatch.notify.channels import Channel, Sent
from pumpwatch.notify.events import decode
from pumpwatch.stats import Stats
from pumpwatch.store.messages import StoredMessage

log = logging.getLogger(__name__)

RETRY_S, RETRY_MAX_S = 5.0, 600.0
KEPT_S = 24 * 3600.0  # a message is retried for this long
WAITING_MAX = 1000


class MessageLedger(Protocol):
    """The ledger's methods for messages. They make the calling greenlet wait, and raise StorageError."""

    def store_messages(self, messages: Sequence[StoredMessage], told: Sequence[str] = (), at_ns: int = 0) -> None:
        """Store messages, or the times of their next tries, and the ids of events that are dealt with."""

    def delete_message(self, channel: str, event_id: str) -> None:
        """Delete a message."""

    def messages(self) -> list[StoredMessage]:
        """Return every message, oldest first."""

    def delete_messages_except(self, channels: Sequence[str]) -> int:
        """Delete the messages of all other channels; return their number."""

    def messages_since(self, now_ns: int, forget_before_ns: int) -> int:
        """Return when messages were first sent (ns UTC), now_ns on the first call; forget events sent before forget_before_ns."""

    def told_event_ids(self) -> list[str]:
        """Return the ids of the events whose messages were stored."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message, and when it is due (monotonic)."""

    message: StoredMessage
    due_s: float


def forget(event_id: str) -> None:
    """Do nothing."""


class Outbox:
    """The messages of one channel. `add` and `stop` never wait; `run` is the body of a greenlet.

    ledger: returns the ledger; called each time, since it is open only while the collector runs. on_done: called with the id of
    each event whose message was taken or given up.
    """

    def __init__(self, channel: Channel, ledger: Callable[[], MessageLedger], clock: Clock, stats: Stats,
                 retry_s: float = RETRY_S, on_done: Callable[[str], None] = forget) -> None:
        self.channel, self._on_done = channel, on_done
        self._ledger, self._clock, self._stats, self._retry_s = ledger, clock, stats, retry_s
        self._waiting: dict[str, _Waiting] = {}  # by event id, oldest first
        self._thread = ThreadPool(1)  # so that a channel that hangs delays no other
        self._wake = Signal()
        self._stopped = self._loss_logged = False
        self._reason = ""
        self._sent = self._failed = self._given_up = 0

    def add(self, message: StoredMessage) -> None:
        """Queue a message for when it is due, unless it waits already. If more than WAITING_MAX wait, give up the oldest."""
        left_s = (message.next_at_ns - self._clock.now_ns()) / NS_PER_S
        self._waiting.setdefault(message.event_id,
                                 _Waiting(message, self._clock.monotonic() + min(max(0.0, left_s), RETRY_MAX_S)))
        if len(self._waiting) > WAITING_MAX:
            self._give_up(next(iter(self._waiting.values())).message, f"more than {WAITING_MAX} wait")
        self._wake.set()

    def run(self) -> None:
        """Send each message when due, until `stop`."""
        while not self._stopped:
            self._wake.clear()
            now_s = self._clock.monotonic()
            following = min(self._waiting.values(), key=lambda waiting: waiting.due_s, default=None)
            if following is None or following.due_s > now_s:
                self._wake.wait(following.due_s - now_s if following else None)
            else:
                self._try(following.message)

    def stop(self) -> None:
        """End `run`. The messages that wait are sent after the next start."""
        self._stopped = True
        self._wake.set()

    def status(self) -> dict[str, Any]:
        """Return the channel's row of the status. `failed` counts attempts, `given_up` counts messages."""
        return {"name": self.channel.name, "kind": self.channel.kind, "up": not self._reason, "reason": self._reason,
                "sent": self._sent, "failed": self._failed, "given_up": self._given_up, "waiting": len(self._waiting)}

    def _try(self, message: StoredMessage) -> None:
        name = self.channel.name
        sent = self._send(message)
        if sent.taken:
            self._sent += 1
            self._stats.add("notify_sent_total", channel=name)
            if self._reason:
                log.info("channel takes messages again channel=%s", name)
            self._reason, self._loss_logged = "", False
            self._forget(message)
            return
        self._failed += 1
        self._stats.add("notify_failed_total", channel=name)
        if not self._reason and sent.again:
            log.warning("channel failed channel=%s event=%s reason=%s: the message is tried again", name, message.event_id,
                        sent.reason)
        self._reason = sent.reason or "no reason given"
        if not sent.again:
            self._give_up(message, sent.reason)
        elif self._clock.now_ns() - message.made_at_ns > KEPT_S * NS_PER_S:
            self._give_up(message, f"not taken for {KEPT_S / 3600:.0f} h")
        elif message.event_id in self._waiting:
            self._postpone(message)

    def _send(self, message: StoredMessage) -> Sent:
        try:
            event = decode(message.event)
        except msgspec.DecodeError as error:
            return Sent(False, f"another version stored it: {error}", again=False)
        return self._thread.apply(self.channel.send, (event,))

    def _postpone(self, message: StoredMessage) -> None:
        delay_s = min(RETRY_MAX_S, self._retry_s * 2**min(message.tries, 20))
        later = replace(message, tries=message.tries + 1, next_at_ns=self._clock.now_ns() + int(delay_s * NS_PER_S))
        self._waiting[message.event_id] = _Waiting(later, self._clock.monotonic() + delay_s)
        self._record(lambda ledger: ledger.store_messages([later]))

    def _give_up(self, message: StoredMessage, reason: str) -> None:
        self._given_up += 1
        self._stats.add("notify_given_up_total", channel=self.channel.name)
        if not self._loss_logged:
            log.warning("message given up channel=%s event=%s reason=%s: `pumpwatch status` counts further ones",
                        self.channel.name, message.event_id, reason)
        self._loss_logged = True
        self._forget(message)

    def _forget(self, message: StoredMessage) -> None:
        self._waiting.pop(message.event_id, None)
        self._record(lambda ledger: ledger.delete_message(message.channel, message.event_id))
        self._on_done(message.event_id)

    def has(self, event_id: str) -> bool:
        """Return whether the message of an event waits."""
        return event_id in self._waiting

    def _record(self, change: Callable[[MessageLedger], object]) -> None:
        try:
            change(self._ledger())
        except StorageError as error:  # the ledger logs its own failure; after a restart the message may be sent again
            log.debug("message not recorded channel=%s reason=%s", self.channel.name, error.message)
