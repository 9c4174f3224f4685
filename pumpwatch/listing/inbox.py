"""Notices dropped by hand: how `pumpwatch listing fake COIN` reaches a running collector.

A dropped notice is a small JSON file in `<store.dir>/inbox`, written whole or not at all. It goes the way of every
listing (border, durable, once, window, archive) under the source `fake`. Whatever else lies there, a folder, a pipe, a link,
a file of a gigabyte, is set aside as `.rejected` and holds up nothing.
"""

from __future__ import annotations

import logging
import os
import stat
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.errors import BadFrame, StorageError, UsageError
from pumpwatch.listing.border import Bad, alone, check_listing, coin_of
from pumpwatch.listing.memory import Call, ListingMemory, call_here
from pumpwatch.listing.quarantine import Quarantine, Record, record_nothing
from pumpwatch.listing.register import KEPT_S, OnListing, Register
from pumpwatch.listing.title_grammar import MAX_TITLE
from pumpwatch.model import Listing
from pumpwatch.printable import printable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

SOURCE = "fake"
LARGEST_BYTES = 65_536
LOOKED_AT, TAKEN = 10_000, 100  # files, of one look


class Dropped(msgspec.Struct, forbid_unknown_fields=True):
    """What a file in the inbox holds."""

    notice_id: str
    symbol: str
    announced_at_ns: int
    title: str = ""


def coin_name(text: str) -> str:
    """Return a coin's name in the form that archives and exchanges use, or raise UsageError."""
    try:
        return coin_of(text.strip())
    except BadFrame:
        raise UsageError(f"`{printable(text)}` is not a coin",
                         "give its ticker: letters and digits, as in PEPE or 1INCH") from None


def folder_of(config: Config) -> Path:
    """Return the inbox of a config's data folder."""
    return Path(config.store.dir) / "inbox"


def drop(config: Config, coin: str, *, title: str = "", clock: Clock | None = None) -> dict[str, Any]:
    """Put a notice for this coin, published now, into the inbox; a running collector takes it within a second.

    Returns notice_id, symbol, announced_at_ns and file. Raises UsageError where it is not a coin or the title is too
    long, StorageError for the disk.
    """
    now_ns = (clock or Clock()).now_ns()
    if len(title) > MAX_TITLE:
        raise UsageError(f"the title has {len(title)} characters", f"give at most {MAX_TITLE}")
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
                 fresh_s: float = 600.0, kept_s: float = KEPT_S, record: Record = record_nothing,
                 call: Call = call_here) -> None:
        self._folder, self._clock = folder, clock
        self._register = Register(SOURCE, memory, clock, stats, on_listing, fresh_s=fresh_s, kept_s=kept_s, call=call)
        self._quarantine = Quarantine(SOURCE, record, clock, stats)
        self._full = self._looking = False
        self._stuck: set[str] = set()  # names that could not be set aside

    def schedule(self, scheduler: Any, interval_s: float = 0.5) -> None:
        """Have an APScheduler look from now on."""
        scheduler.add_job(self.poll, "interval", seconds=interval_s, id="listing.inbox", max_instances=2,
                          coalesce=True, misfire_grace_time=None)

    def poll(self) -> None:
        """Take each file once: it is removed when its listing is durable, and renamed `.rejected` where it is not a notice."""
        if self._looking:
            return
        self._looking = True
        try:
            self._look()
        finally:
            self._looking = False

    def _look(self) -> None:
        try:
            with os.scandir(self._folder) as found:
                names = sorted(islice((one.name for one in found if one.name.endswith(".json")), LOOKED_AT))
        except FileNotFoundError:
            return
        except OSError as error:
            self._say_full(f"{self._folder}: {error.strerror}")
            return
        self._stuck.intersection_update(names)
        taken: list[str] = []
        try:
            for name in islice((one for one in names if one not in self._stuck), TAKEN):
                alone(partial(self._take, name, taken), partial(self._set_aside, name))
            self._register.store()
            for name in taken:
                (self._folder / name).unlink(missing_ok=True)
            self._full = False
        except (StorageError, OSError) as error:
            self._say_full(str(error))
        self._register.log_not_opened()

    def _say_full(self, reason: str) -> None:
        if not self._full:
            log.warning("a dropped notice must wait reason=%s", printable(reason))
        self._full = True

    def _take(self, name: str, taken: list[str]) -> None:
        try:
            dropped = msgspec.json.decode(_read(self._folder / name), type=Dropped)
        except (msgspec.DecodeError, OSError) as error:
            raise BadFrame(f"not a dropped notice: {error}") from error
        now_ns = self._clock.now_ns()
        listing = Listing(source=SOURCE, notice_id=dropped.notice_id, symbol=coin_of(dropped.symbol), title=dropped.title,
                          announced_at_ns=dropped.announced_at_ns, detected_at_ns=now_ns, triggered_at_ns=now_ns)
        check_listing(listing, now_ns)
        self._register.add([listing])
        taken.append(name)

    def _set_aside(self, name: str, error: Exception) -> None:
        """Rename what is not a notice; where even that fails, leave it out from now on."""
        reason = error.message if isinstance(error, BadFrame) else f"{type(error).__name__}: {error}"
        log.warning("a file in the inbox is set aside file=%s reason=%s", printable(name), printable(reason))
        self._quarantine.record([Bad(reason, name.encode("utf-8", "replace"))])
        path = self._folder / name
        for number in range(100):
            aside = path.with_suffix(f".{number}.rejected" if number else ".rejected")
            try:
                if not os.path.lexists(aside):
                    path.rename(aside)
                    return
            except OSError:
                break
        self._stuck.add(name)


def _read(path: Path) -> bytes:
    """Return the content of a plain file. Never waits for a pipe, never follows a link. Raises OSError and BadFrame."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise BadFrame("not a dropped notice: not a plain file")
        if found.st_size > LARGEST_BYTES:
            raise BadFrame(f"not a dropped notice: {found.st_size} bytes")
        return os.read(handle, LARGEST_BYTES)
    finally:
        os.close(handle)
