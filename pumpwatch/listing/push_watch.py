"""Listen to one source that pushes, and reconnect with back-off when its connection ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gevent.event import Event

from pumpwatch.errors import BadFrame, PumpWatchError, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import PushSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.notice_bodies import NoticeBodies
from pumpwatch.listing.notice_intake import NoticeIntake
from pumpwatch.listing.quarantine import Quarantine
from pumpwatch.listing.source_health import SourceHealth
from pumpwatch.listing.validation import RejectedRow, checked_rows, isolated
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.messages import TextSocket
from pumpwatch.net.stream import Stream
from pumpwatch.net.texts import masked

STEADY_S = 60.0  # the back-off starts again from the beginning after a connection that lasted this long


class Dial(Protocol):
    """Open a WebSocket like `net.ws.Dialer.open`. Raises ServiceUnavailable."""

    def __call__(self, url: str, headers: Mapping[str, str], /) -> Stream: ...


def no_dial(url: str, headers: Mapping[str, str], /) -> Stream:
    """Raise ServiceUnavailable."""
    raise ServiceUnavailable("no WebSocket can be opened here")


def do_nothing() -> None:
    """Do nothing."""


class PushWatch:
    """One source that pushes. `run` is the body of its greenlet; no error of the source ends it.

    url overrides the source's own address. offload: runs the source's code, except `listen`, outside the hub. dial: opens a
    WebSocket for the source. on_connected: called after each connect, so that the caller can look for notices missed before it.
    """

    def __init__(self, source: PushSource, context: IntakeContext, *, url: str = "", offload: Call = call_here,
                 options: Any = None, bodies: NoticeBodies | None = None, dial: Dial = no_dial,
                 on_connected: Callable[[], None] = do_nothing) -> None:
        self.source, self.options = source, options
        self._dial, self._on_connected = dial, on_connected
        self._url, self._clock, self._stats, self._offload = url, context.clock, context.stats, offload
        self._intake = NoticeIntake(source, context, offload, bodies)
        self._quarantine = Quarantine(source.name, context)
        self._health = SourceHealth(source.name, context.clock, context.stats)
        self._backoff = Backoff(base_s=1.0, cap_s=60.0)
        self._stopped = False
        self._wake = Event()

    @property
    def up(self) -> bool | None:
        """Return whether the source is connected; None before the first connection or failure."""
        return self._health.up

    @property
    def stopped(self) -> bool:
        """Return whether `stop` was called."""
        return self._stopped

    def run(self) -> None:
        """Listen until `stop`."""
        while not self._wake.is_set():
            began_s = self._clock.monotonic()
            isolated(self._listen, self._failed)
            if self._clock.monotonic() - began_s > STEADY_S:
                self._backoff.reset()
            self._wake.wait(self._backoff.next_s())

    def _listen(self) -> None:
        self.source.listen(self._url, self)
        if not self._stopped:
            self._health.mark_down("the connection ended")

    def _failed(self, error: Exception) -> None:
        self._health.mark_down(error.message if isinstance(error, PumpWatchError) else f"{type(error).__name__}: {error}")

    def connected(self) -> None:
        """Record that the source is connected."""
        self._health.mark_up(self._url)
        self._on_connected()

    def open_websocket(self, url: str, headers: Mapping[str, str]) -> TextSocket:
        """Connect to a WebSocket. Raises ServiceUnavailable."""
        return TextSocket(self._dial(url, headers))

    def schedule(self, scheduler: Any, interval_s: float = 1.0) -> None:
        """Make an APScheduler call `retry` every `interval_s`."""
        scheduler.add_job(self.retry, "interval", seconds=interval_s, id=f"listing.{self.source.name}.bodies",
                          max_instances=1, coalesce=True, misfire_grace_time=None)

    def retry(self) -> None:
        """Process the notices whose bodies were missing. Never raises."""
        try:
            isolated(self._intake.retry, self._failed)
        except StorageError as error:
            self._health.mark_down(f"the ledger cannot be read or written: {error.message}")

    def deliver(self, body: bytes) -> bool:
        """Process one message; return False if the ledger failed or this watch was stopped, so that it must be delivered again.

        Never raises: an unreadable message is quarantined, and the connection stays open.
        """
        if self._stopped:
            return False
        self._stats.add("listing_messages_total", source=self.source.name)
        try:
            rows = self._offload(checked_rows, self.source, body, self._clock.now_ns())
            isolated(lambda: self._intake.deliver(rows), self._failed)
        except BadFrame as error:
            self._quarantine.record([RejectedRow(error.message, body)])
            self._health.mark_down(f"a message cannot be read: {error.message}")
        except StorageError as error:
            self._health.mark_down(f"the ledger cannot be read or written: {error.message}")
            return False
        else:
            self._health.mark_up(self._url)
        return True

    def stop(self) -> None:
        """Process no further message and do not reconnect. A `listen` that still waits ends with its greenlet."""
        self._stopped = True
        self._intake.stop()
        self._wake.set()

    def state(self) -> dict[str, Any]:
        """Return the status row: that of `SourceHealth`, delivery, url."""
        return {**self._health.state(), "delivery": self.source.delivery, "url": masked(self._url)}
