"""Notices dropped by hand: how `pumpwatch listing fake COIN` reaches a running collector.

A dropped notice is a small JSON file in `<store.dir>/inbox`, written whole or not at all. It goes the way of every
listing (durable, once, window, archive) under the source `fake`.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.listing.memory import Call, ListingMemory, call_here
from pumpwatch.listing.watch import OnListing
from pumpwatch.model import Listing
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

SOURCE = "fake"
_COIN = re.compile(r"[A-Z0-9]{1,20}")


class Dropped(msgspec.Struct, forbid_unknown_fields=True):
    """What a file in the inbox holds."""

    notice_id: str
    symbol: str
    announced_at_ns: int
    title: str = ""


def coin_name(text: str) -> str:
    """Return a coin's name in the form that archives and exchanges use, or raise UsageError."""
    coin = text.strip().upper()
    if not _COIN.fullmatch(coin):
        raise UsageError(f"{text!r} is no coin", "give its ticker: letters and digits, as in PEPE or 1INCH")
    return coin


def folder_of(config: Config) -> Path:
    """Return the inbox of a config's data folder."""
    return Path(config.store.dir) / "inbox"


def drop(config: Config, coin: str, *, title: str = "", clock: Clock | None = None) -> dict[str, Any]:
    """Put a notice for this coin, published now, into the inbox; a running collector takes it within a second.

    Returns notice_id, symbol, announced_at_ns and file. Raises UsageError for no coin, StorageError for the disk.
    """
    now_ns = (clock or Clock()).now_ns()
    coin = coin_name(coin)
    dropped = Dropped(f"fake-{now_ns}", coin, now_ns, title or f"{coin}: a notice dropped by hand")
    path = folder_of(config) / f"{dropped.notice_id}.json"
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.encode(dropped))
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot drop a notice: {error.strerror}") from error
    return {**msgspec.structs.asdict(dropped), "file": str(path)}


class Inbox:
    """Takes what was dropped. `poll` looks once and is cheap where nothing lies there."""

    def __init__(self, folder: Path, memory: ListingMemory, clock: Clock, stats: Stats, on_listing: OnListing, *,
                 fresh_s: float = 600.0, call: Call = call_here) -> None:
        self._folder, self._memory, self._clock, self._stats = folder, memory, clock, stats
        self._on_listing, self._fresh_ns, self._call = on_listing, int(fresh_s * NS_PER_S), call
        self._full = False

    def schedule(self, scheduler: Any, interval_s: float = 0.5) -> None:
        """Have an APScheduler look from now on."""
        scheduler.add_job(self.poll, "interval", seconds=interval_s, id="listing.inbox", max_instances=1,
                          coalesce=True, misfire_grace_time=None)

    def poll(self) -> None:
        """Take each file once: it is removed when its listing is durable, and renamed `.rejected` if it is none."""
        try:
            paths = sorted(path for path in self._folder.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return
        for path in paths:
            try:
                self._take(path)
                self._full = False
            except (StorageError, OSError) as error:
                if not self._full:
                    log.warning("a dropped notice must wait file=%s reason=%s", path, error)
                self._full = True
                return

    def _take(self, path: Path) -> None:
        try:
            dropped = msgspec.json.decode(path.read_bytes(), type=Dropped)
            symbol = coin_name(dropped.symbol)
        except (msgspec.DecodeError, UsageError) as error:
            log.warning("a dropped notice is none file=%s reason=%s", path, error)
            path.replace(path.with_suffix(".rejected"))
            return
        now_ns = self._clock.now_ns()
        listing = Listing(source=SOURCE, notice_id=dropped.notice_id, symbol=symbol, title=dropped.title,
                          announced_at_ns=dropped.announced_at_ns, detected_at_ns=now_ns, triggered_at_ns=now_ns)
        fresh = now_ns - dropped.announced_at_ns <= self._fresh_ns
        new = fresh and self._call(self._memory.remember_listing, listing)
        if new:
            log.info("listing source=%s id=%s coin=%s title=%r", SOURCE, listing.notice_id, symbol, listing.title)
            self._stats.add("listing_detected_total", source=SOURCE)
            self._on_listing(listing)
        path.unlink()
        if not new:
            log.info("a dropped notice is %s id=%s coin=%s", "known" if fresh else "too old", listing.notice_id, symbol)
