"""Publish written listings to the sinks, and offer each again until every sink has accepted it.

A listing that a sink does not accept stays in memory and is offered again, first after 10 s, later every ten minutes. The
manifest of its archive names these sinks, so that a restart continues. At most WAITING_MAX listings wait. A listing that
reachable sinks have rejected REJECTIONS_MAX times is given up until the next start. In a cluster one collector offers; on the
others a listing waits until it is published, or until they become the one that offers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.hookspecs import ListingEvent, Sink
from pumpwatch.listing.archive import exchanges_in
from pumpwatch.listing.context import always
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.manifest import read_manifest, write_manifest
from pumpwatch.listing.validation import isolated
from pumpwatch.model import Listing
from pumpwatch.printable import printable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

RETRY_S, RETRY_MAX_S = 10.0, 600.0
WAITING_MAX = 1000
REJECTIONS_MAX = 50


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A written listing, and the sinks that have not accepted it."""

    listing: Listing
    archive: Path
    trades: int
    sinks: tuple[str, ...]
    rejections: int = 0  # by reachable sinks

    @property
    def key(self) -> tuple[str, str, str]:
        return self.listing.key


def ignore_published(key: tuple[str, str, str]) -> None:
    """Do nothing."""


class Publisher:
    """Offers listings to the sinks. No method raises because of a sink's error.

    offload: reads and writes archives outside the hub. The sinks' methods let other greenlets run. offers: returns whether this
    collector of a cluster offers now. on_published: called with the key of a listing that every sink has accepted.
    """

    def __init__(self, sinks: Mapping[str, Sink], clock: Clock, stats: Stats, offload: Call = call_here,
                 offers: Callable[[], bool] = always,
                 on_published: Callable[[tuple[str, str, str]], None] = ignore_published) -> None:
        self._offers, self._on_published = offers, on_published
        self._elsewhere: dict[tuple[str, str, str], None] = {}  # published by another collector
        self._sinks, self._clock, self._stats, self._offload = sinks, clock, stats, offload
        self._waiting: dict[tuple[str, str, str], _Waiting] = {}
        self._delay_s = RETRY_S
        self._next_s = float("inf")

    @property
    def sinks(self) -> tuple[str, ...]:
        """Return the names of the sinks."""
        return tuple(self._sinks)

    @property
    def next_s(self) -> float:
        """Return when to call `retry` (monotonic); infinity if nothing waits."""
        return self._next_s if self._waiting else float("inf")

    def waiting(self) -> int:
        """Return how many listings wait for a sink."""
        return len(self._waiting)

    def publish(self, listing: Listing, archive: Path, trades: int, *, last: bool = True) -> None:
        """Offer a written listing to every sink, in place of an earlier one with the same key.

        last=False: more listings of the archive follow, and its manifest keeps naming the sinks until the last one.
        """
        if not self._sinks:
            return
        waiting = _Waiting(listing, archive, trades, self.sinks)
        if self._offers():
            self._offer(waiting, set(), last)
        elif listing.key not in self._elsewhere:
            self._keep(waiting)
        self._plan()

    def published_elsewhere(self, key: tuple[str, str, str]) -> None:
        """Record that another collector has published a listing, and stop waiting with it."""
        self._elsewhere[key] = None
        while len(self._elsewhere) > WAITING_MAX:
            del self._elsewhere[next(iter(self._elsewhere))]
        if (waiting := self._waiting.pop(key, None)) is not None:
            self._record(waiting.archive, ())

    def resume(self, listing: Listing, archive: Path, trades: int, sinks: Sequence[str]) -> None:
        """Offer a listing that these sinks had not accepted when an earlier run ended."""
        configured = tuple(name for name in sinks if name in self._sinks)
        if configured:
            self._keep(_Waiting(listing, archive, trades, configured))
            self._next_s = min(self._next_s, self._clock.monotonic())

    def retry(self) -> None:
        """Offer the waiting listings again, if that is due."""
        if self._clock.monotonic() < self.next_s:
            return
        if not self._offers():
            self._next_s = self._clock.monotonic() + RETRY_S
            return
        unreachable: set[str] = set()
        for waiting in list(self._waiting.values()):
            self._offer(waiting, unreachable)
        self._delay_s = min(RETRY_MAX_S, self._delay_s * 2)
        self._next_s = float("inf")
        self._plan()

    def _plan(self) -> None:
        if not self._waiting:
            self._delay_s, self._next_s = RETRY_S, float("inf")
        elif self._next_s == float("inf"):
            self._next_s = self._clock.monotonic() + self._delay_s

    def _offer(self, waiting: _Waiting, unreachable: set[str], record: bool = True) -> None:
        """Offer a listing to the sinks that have not accepted it, and keep it for those that still do not.

        A listing that failed moves behind the others, which are then tried first the next time.
        """
        event = ListingEvent(str(waiting.archive), waiting.trades, self._offload(exchanges_in, waiting.archive))
        left: list[str] = []
        rejections, tried = waiting.rejections, False
        for name in waiting.sinks:
            error = None if name in unreachable else self._write(name, waiting.listing, event)
            if name not in unreachable and error is None:
                continue
            left.append(name)
            tried |= error is not None
            if isinstance(error, ServiceUnavailable):
                unreachable.add(name)
            elif error is not None:
                rejections += 1
            if error is not None and waiting.key not in self._waiting:
                log.warning("listing not published sink=%s coin=%s reason=%s: it is offered again", name,
                            waiting.listing.symbol, printable(str(error) or type(error).__name__))
        if not left:
            self._on_published(waiting.key)
            if self._waiting.pop(waiting.key, None) is not None:
                log.info("listing published after a retry coin=%s sinks=%s", waiting.listing.symbol, ",".join(waiting.sinks))
        elif rejections >= REJECTIONS_MAX:
            self._waiting.pop(waiting.key, None)
            self._drop(waiting, f"rejected {rejections} times")
        else:
            if tried:
                self._waiting.pop(waiting.key, None)
            self._keep(_Waiting(waiting.listing, waiting.archive, waiting.trades, tuple(left), rejections))
        if record:
            self._record(waiting.archive, left)

    def _write(self, name: str, listing: Listing, event: ListingEvent) -> Exception | None:
        """Return why a sink did not accept a listing; None if it did."""
        errors: list[Exception] = []
        try:
            isolated(partial(self._sinks[name].write_listing, listing, event), errors.append)
        except StorageError as error:
            errors.append(error)
        return errors[0] if errors else None

    def _keep(self, waiting: _Waiting) -> None:
        self._waiting[waiting.key] = waiting
        while len(self._waiting) > WAITING_MAX:
            oldest = next(iter(self._waiting))
            self._drop(self._waiting.pop(oldest), f"more than {WAITING_MAX} listings wait")

    def _drop(self, waiting: _Waiting, reason: str) -> None:
        self._stats.add("listings_not_published_total")
        log.error("listing given up coin=%s sinks=%s archive=%s reason=%s: it is offered again at the next start",
                  waiting.listing.symbol, ",".join(waiting.sinks), waiting.archive, reason)

    def _record(self, archive: Path, left: Sequence[str]) -> None:
        """Record in the archive's manifest the sinks that have not accepted all of its listings."""
        names = set(left).union(*(waiting.sinks for waiting in self._waiting.values() if waiting.archive == archive))
        try:
            self._offload(_write_unpublished, archive, tuple(sorted(names)))
        except OSError as error:
            log.warning("publication not recorded archive=%s reason=%s: a restart may not offer the listing again", archive,
                        error.strerror or error)


def _write_unpublished(archive: Path, sinks: tuple[str, ...]) -> None:
    manifest = read_manifest(archive)
    if manifest is not None and manifest.unpublished != sinks:
        write_manifest(archive, msgspec.structs.replace(manifest, unpublished=sinks))
