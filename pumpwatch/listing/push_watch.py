"""Listen to one source that pushes, and connect again with back-off whenever its connection ends."""

from __future__ import annotations

from typing import Any

from gevent.event import Event

from pumpwatch.errors import BadFrame, PumpWatchError, StorageError
from pumpwatch.hookspecs import PushSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.notice_intake import NoticeIntake
from pumpwatch.listing.source_health import SourceHealth
from pumpwatch.listing.validation import checked_rows, isolated
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.texts import masked

STEADY_S = 60.0  # a connection that lasted so long before it ended starts with a new back-off


class PushWatch:
    """One source that pushes. `run` is the body of its greenlet; nothing of the source's ends it.

    url overrides the source's own address. offload runs the source's code, except `listen`, where it blocks nothing.
    """

    def __init__(self, source: PushSource, context: IntakeContext, *, url: str = "", offload: Call = call_here) -> None:
        self.source = source
        self._url, self._clock, self._stats, self._offload = url, context.clock, context.stats, offload
        self._intake = NoticeIntake(source, context, offload)
        self._health = SourceHealth(source.name, context.clock, context.stats)
        self._backoff = Backoff(base_s=1.0, cap_s=60.0)
        self._stopped = False
        self._wake = Event()

    @property
    def up(self) -> bool | None:
        """Return whether the source is connected, None before the first connection or failure."""
        return self._health.up

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

    def deliver(self, body: bytes) -> None:
        """Process one message. Never raises: a message that cannot be read is not a reason to leave the connection."""
        if self._stopped:
            return
        self._stats.add("listing_messages_total", source=self.source.name)
        try:
            rows = self._offload(checked_rows, self.source, body, self._clock.now_ns())
            isolated(lambda: self._intake.deliver(rows), self._failed)
        except BadFrame as error:
            self._health.mark_down(f"a message cannot be read: {error.message}")
        except StorageError as error:
            self._health.mark_down(f"the ledger cannot be read or written: {error.message}")
        else:
            self._health.mark_up(self._url)

    def stop(self) -> None:
        """Process no further message and connect no more. A `listen` that still waits ends with its greenlet."""
        self._stopped = True
        self._intake.stop()
        self._wake.set()

    def state(self) -> dict[str, Any]:
        """Return the row of a status: that of `SourceHealth`, delivery, url."""
        return {**self._health.state(), "delivery": self.source.delivery, "url": masked(self._url)}
