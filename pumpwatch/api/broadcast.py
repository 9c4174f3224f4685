"""Send the page's events to all watchers, encoding each event only once.

A topic is a name with its latest value. A watcher gets each topic once, and again whenever its value has changed. A slow watcher,
or one that was disconnected, skips intermediate values. Nothing is read or encoded without watchers.
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
RETRY_MS = 2000  # a browser reconnects after this time
HEARTBEAT_S = 5.0  # without an event, a comment is sent, so that a dead connection is detected
MOST_WATCHERS = 64


@dataclass(frozen=True, slots=True)
class Topic:
    """A name, a function that returns the value as plain data, and the interval between reads in seconds.

    waits: reading may wait for a disk, so such topics are read in another greenlet. first: it is sent only to new watchers.
    """

    name: str
    read: Callable[[], Any]
    every_s: float = EVERY_S
    waits: bool = False
    first: bool = False


@dataclass(slots=True)
class _Latest:
    """The last value of a topic, as JSON and as an event, and the number of the publication that changed it."""

    payload: bytes = b""
    event: bytes = b""
    number: int = 0
    read_at: float = float("-inf")


class TooManyWatchers(Exception):
    """The maximum number of watchers is reached."""


class Broadcast:
    """The topics and their watchers. `run` and `run_waiting` are bodies of supervised greenlets; everything runs on the hub.

    tick: called each second, even without watchers.
    """

    def __init__(self, clock: Clock, tick: Callable[[], None], topics: Sequence[Topic], most: int = MOST_WATCHERS) -> None:
        self._clock, self._tick, self._topics, self._most = clock, tick, topics, most
        self._token = f"{clock.now_ns():x}"  # event ids of another process do not match
        self._latest = {topic.name: _Latest() for topic in topics}
        self._number = 0
        self._news, self._joined = Event(), Event()
        self._joint: dict[int, bytes] = {}  # number seen -> all events since, until the next publication
        self._watches: set[PageWatch] = set()
        self.stopped = False

    @property
    def watchers(self) -> int:
        """Return the number of watchers."""
        return len(self._watches)

    def watch(self, last_id: str = "") -> PageWatch:
        """Return the events of a new watcher; `last_id` is the id of the last event that it got. Raises TooManyWatchers."""
        if len(self._watches) >= self._most:
            raise TooManyWatchers
        if not self._watches:  # the values of earlier watchers may be hours old
            self._latest = {topic.name: _Latest() for topic in self._topics}
            self._joint.clear()
        token, _, number = last_id.partition("-")
        seen = int(number) if token == self._token and number.isascii() and number.isdecimal() and len(number) < 18 else 0
        watch = PageWatch(self, min(seen, self._number))
        self._watches.add(watch)
        self._joined.set()
        return watch

    def leave(self, watch: PageWatch) -> None:
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
        """Do the same for topics that may wait for a disk."""
        while not self.stopped:
            self._publish(waits=True)
            gevent.sleep(EVERY_S / 2)

    def stop(self) -> None:
        """End `run`, `run_waiting` and every watch."""
        self.stopped = True
        self._joined.set()
        self._news.set()

    def _publish(self, waits: bool) -> None:
        """Read the topics that are due, and wake the watchers if a value has changed."""
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
        """Read a topic if it is due; return whether its value has changed."""
        now, latest = self._clock.monotonic(), self._latest[topic.name]
        if topic.every_s > EVERY_S and now - latest.read_at < topic.every_s - EVERY_S / 4:
            return False
        latest.read_at = now
        payload = msgspec.json.encode(topic.read())
        latest = self._latest[topic.name]  # a new first watcher may have reset it during the read
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
        """Return the first events for a new watcher."""
        return f"retry: {RETRY_MS}\n\n".encode() + b"".join(
            _event(topic.name, msgspec.json.encode(topic.read())) for topic in self._topics if topic.first)

    def wait(self, seconds: float) -> None:
        """Wait for the next publication, at most `seconds`."""
        self._news.wait(seconds)


def _event(name: str, payload: bytes, number: str = "") -> bytes:
    """Return a server-sent event; its JSON must be one line."""
    return f"event: {name}\n{f'id: {number}{chr(10)}' if number else ''}data: ".encode() + payload + b"\n\n"


class PageWatch(Iterator[bytes]):
    """The endless events for one watcher, until the broadcast stops. The server always closes it."""

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
        """End the watch."""
        self._source.leave(self)
