"""One channel's messages: each is sent once it is due, and again with back-off until the channel has taken it or it is given up.

They wait in memory and in the ledger, so that a restart goes on with them. A channel that fails is logged once, with the first
message that is given up once, and once more when it takes a message again; what else happens meanwhile is counted. A message
that was taken just before a kill is sent again: the event's id tells the receiver so.
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
KEPT_S = 24 * 3600.0  # a message is tried for so long
WAITING_MAX = 1000


class MessageLedger(Protocol):
    """The ledger as messages use it. Its methods make the caller wait, and raise StorageError."""

    def store_messages(self, messages: Sequence[StoredMessage], told: Sequence[str] = (), at_ns: int = 0) -> None:
        """Store messages, or their next tries, and the ids of events that need not be told any more."""

    def delete_message(self, channel: str, event_id: str) -> None:
        """Delete a message."""

    def messages(self) -> list[StoredMessage]:
        """Return every message, oldest first."""

    def delete_messages_except(self, channels: Sequence[str]) -> int:
        """Delete the messages of other channels; return how many there were."""

    def messages_since(self, now_ns: int, forget_before_ns: int) -> int:
        """Return since when channels are told; forget the events that were told before that time."""

    def told_event_ids(self) -> list[str]:
        """Return the ids of the events whose messages were stored."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message, and when it is due by the monotonic clock."""

    message: StoredMessage
    due_s: float


def forget(event_id: str) -> None:
    """Do nothing."""


class Outbox:
    """The messages of one channel. `add` and `stop` never wait; `run` is the greenlet's body.

    ledger is asked for each time, as it is open only while the collector runs. on_done is called with the id of each event whose
    message was taken or given up.
    """

    def __init__(self, channel: Channel, ledger: Callable[[], MessageLedger], clock: Clock, stats: Stats,
                 retry_s: float = RETRY_S, on_done: Callable[[str], None] = forget) -> None:
        self.channel, self._on_done = channel, on_done
        self._ledger, self._clock, self._stats, self._retry_s = ledger, clock, stats, retry_s
        self._waiting: dict[str, _Waiting] = {}  # by event id, oldest first
        self._thread = ThreadPool(1)  # a channel that hangs holds up no other
        self._wake = Signal()
        self._stopped = self._loss_logged = False
        self._reason = ""
        self._sent = self._failed = self._given_up = 0

    def add(self, message: StoredMessage) -> None:
        """Have a message sent when it is due, unless it waits already. The oldest is given up where too many wait."""
        left_s = (message.next_at_ns - self._clock.now_ns()) / NS_PER_S
        self._waiting.setdefault(message.event_id,
                                 _Waiting(message, self._clock.monotonic() + min(max(0.0, left_s), RETRY_MAX_S)))
        if len(self._waiting) > WAITING_MAX:
            self._give_up(next(iter(self._waiting.values())).message, f"more than {WAITING_MAX} wait")
        self._wake.set()

    def run(self) -> None:
        """Send each message when it is due, until `stop`."""
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
        """Return the row of a status. `failed` counts tries, `given_up` messages."""
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
            log.warning("channel takes no message channel=%s event=%s reason=%s: it is tried again", name, message.event_id,
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
            log.warning("message given up channel=%s event=%s reason=%s: further ones are counted by `pumpwatch status`",
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
        except StorageError as error:  # the ledger itself logs that it refuses; after a restart the message may come again
            log.debug("message not recorded channel=%s reason=%s", self.channel.name, error.message)
