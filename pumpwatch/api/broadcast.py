"""Sends the same events to every watcher of the page, each encoded once, however many watch.

A topic is a name and its latest value. A watcher is sent each topic once, and again whenever its value has changed: a slow
watcher, or one that was away, skips the values between. Nothing is read or encoded while nobody watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from pumpwatch.clock import Clock

EVERY_S = 1.0
RETRY_MS = 2000  # after which a browser asks again
HEARTBEAT_S = 5.0  # without an event: something is sent, so that a connection that is gone is noticed
MOST_WATCHERS = 64


@dataclass(frozen=True, slots=True)
class Topic:
    """A name, a function that returns the value as plain data, and after how many seconds it is read again.

    waits: reading may wait for a disk, so it holds up no other topic that does not. first: it is sent to a watcher that begins,
    and never again.
    """

    name: str
    read: Callable[[], Any]
    every_s: float = EVERY_S
    waits: bool = False
    first: bool = False


@dataclass(slots=True)
class _Latest:
    """The last value of a topic, encoded and as its event, and the number of the publication that brought it."""

    payload: bytes = b""
    event: bytes = b""
    number: int = 0
    read_at: float = float("-inf")


class TooManyWatchers(Exception):
    """All places are taken."""


class Broadcast:
    """The topics and their watchers. `run` and `run_waiting` are bodies of supervised greenlets; all of it is on the hub.

    tick: called each second, whether or not somebody watches.
    """

    def __init__(self, clock: Clock, tick: Callable[[], None], topics: Sequence[Topic], most: int = MOST_WATCHERS) -> None:
        self._clock, self._tick, self._topics, self._most = clock, tick, topics, most
        self._token = f"{clock.now_ns():x}"  # the numbers of another process mean nothing here
        self._latest = {topic.name: _Latest() for topic in topics}
        self._number = 0
        self._news, self._joined = Event(), Event()
        self._joint: dict[int, bytes] = {}  # number seen -> all events since, until the next publication
        self._watches: set[Watch] = set()
        self.stopped = False

    @property
    def watchers(self) -> int:
        """Return how many watch now."""
        return len(self._watches)

    def watch(self, last_id: str = "") -> Watch:
        """Return the events of a new watcher; `last_id` is the last event that it had. Raises TooManyWatchers."""
        if len(self._watches) >= self._most:
            raise TooManyWatchers
        if not self._watches:  # what was read for earlier ones may be hours old
            self._latest = {topic.name: _Latest() for topic in self._topics}
            self._joint.clear()
        token, _, number = last_id.partition("-")
        seen = int(number) if token == self._token and number.isascii() and number.isdecimal() and len(number) < 18 else 0
        watch = Watch(self, min(seen, self._number))
        self._watches.add(watch)
        self._joined.set()
        return watch

    def leave(self, watch: Watch) -> None:
        """Forget a watcher."""
        self._watches.discard(watch)

    def run(self) -> None:
        """Tick each second, and publish while somebody watches, until `stop`."""
        due = self._clock.monotonic()
        while not self.stopped:
            now = self._clock.monotonic()
            if now >= due:
                self._tick()
                due = max(due + EVERY_S, now + EVERY_S / 2)
            self._publish(waits=False)
            self._joined.clear()
            self._joined.wait(max(0.0, due - self._clock.monotonic()))

    def run_waiting(self) -> None:
        """Do the same for the topics that may wait."""
        while not self.stopped:
            self._publish(waits=True)
            gevent.sleep(EVERY_S / 2)

    def stop(self) -> None:
        """End both, and every watch."""
        self.stopped = True
        self._joined.set()
        self._news.set()

    def _publish(self, waits: bool) -> None:
        """Read the topics that are due, and wake the watchers if one has changed."""
        changed = [topic.name for topic in self._topics
                   if topic.waits == waits and not topic.first and self._watches and self._has_changed(topic)]
        if not changed:
            return
        self._number += 1
        for name in changed:
            latest = self._latest[name]
            latest.number = self._number
            latest.event = _event(name, latest.payload, f"{self._token}-{self._number}")
        self._joint.clear()
        news, self._news = self._news, Event()
        news.set()

    def _has_changed(self, topic: Topic) -> bool:
        """Read a topic if it is due; return whether its value is another one."""
        now, latest = self._clock.monotonic(), self._latest[topic.name]
        if topic.every_s > EVERY_S and now - latest.read_at < topic.every_s - EVERY_S / 4:
            return False
        latest.read_at = now
        payload = msgspec.json.encode(topic.read())
        latest = self._latest[topic.name]  # others may watch by now
        before, latest.payload = latest.payload, payload
        return payload != before

    def since(self, seen: int) -> tuple[int, bytes]:
        """Return the number of the last publication, and all events that are newer than `seen`."""
        events = self._joint.get(seen)
        if events is None:
            events = self._joint[seen] = b"".join(
                latest.event for latest in self._latest.values() if latest.number > seen)
        return self._number, events

    def beginning(self) -> bytes:
        """Return what a watcher is sent at first."""
        return f"retry: {RETRY_MS}\n\n".encode() + b"".join(
            _event(topic.name, msgspec.json.encode(topic.read())) for topic in self._topics if topic.first)

    def wait(self, seconds: float) -> None:
        """Return at the next publication, or after `seconds`."""
        self._news.wait(seconds)


def _event(name: str, payload: bytes, number: str = "") -> bytes:
    """Return an event; JSON is one line."""
    return f"event: {name}\n{f'id: {number}{chr(10)}' if number else ''}data: ".encode() + payload + b"\n\n"


class Watch(Iterator[bytes]):
    """The events for one watcher, without an end until the broadcast stops. The server closes it in every case."""

    def __init__(self, source: Broadcast, seen: int) -> None:
        self._source, self._seen = source, seen
        self._begun = False

    def __next__(self) -> bytes:
        """Return the next events, or a comment that keeps the connection open."""
        if not self._begun:
            self._begun = True
            return self._source.beginning()
        events = self._news()
        if not events and not self._source.stopped:
            self._source.wait(HEARTBEAT_S)
            events = self._news()
        if self._source.stopped:
            raise StopIteration
        return events or b": still here\n\n"

    def _news(self) -> bytes:
        self._seen, events = self._source.since(self._seen)
        return events

    def close(self) -> None:
        """Leave."""
        self._source.leave(self)
