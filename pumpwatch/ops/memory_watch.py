"""Keep the process's resident memory within its limit: drop recent trades first, then log a warning.

The limit is `memory.limit_mb`; by default half of the machine's memory, or nine tenths of the control group's limit if that is
less.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pumpwatch.config_disk import MemoryConfig

log = logging.getLogger(__name__)

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
OF_GROUP, OF_MACHINE = 0.9, 0.5
SHRINK, GROW = 0.7, 1.25  # factors for the size of the recent trades at each look
ROOM = 0.85  # the recent trades grow again below this share of the limit
LEAST_BYTES = 8 << 20
NO_LIMIT = 1 << 60  # control groups write a large number or `max`
M_ARENA_MAX = -8  # of mallopt(3)


class Shrinkable(Protocol):
    """The recent trades in memory."""

    @property
    def nbytes(self) -> int:
        """Return the bytes in use."""

    @property
    def max_bytes(self) -> int:
        """Return the limit in bytes."""

    def limit(self, max_bytes: int) -> None:
        """Set the limit in bytes, and drop the oldest trades beyond it."""


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE_BYTES


def group_limit(cgroup: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the smallest memory limit of the process's control group and its parents, in bytes; 0 without one."""
    limits = []
    try:
        lines = cgroup.read_text("utf-8").splitlines()
    except OSError:
        return 0
    for line in lines:
        number, controllers, path = line.split(":", 2)
        names: tuple[str, ...]
        if number == "0":
            root, names = mount, ("memory.max", "memory.high")
        elif "memory" in controllers.split(","):
            root, names = mount / "memory", ("memory.limit_in_bytes",)
        else:
            continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            limits += [limit for name in names if 0 < (limit := _number_in(folder / name)) < NO_LIMIT]
            if folder == root:
                break
    return min(limits, default=0)


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return 0


def memory_limit(options: MemoryConfig, group: Callable[[], int] = group_limit) -> int:
    """Return the limit in bytes."""
    if options.limit_mb:
        return int(options.limit_mb * 1_000_000)
    machine = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES
    grouped = group()
    return min(int(machine * OF_MACHINE), int(grouped * OF_GROUP)) if grouped else int(machine * OF_MACHINE)


def share_heap() -> bool:
    """Make all threads allocate from one heap; return whether the C library can. Call it before any thread starts.

    By default each thread has its own heap, whose freed memory other threads cannot use: 25 MB at 100,000 trades/s.
    """
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    return choose is not None and bool(choose(M_ARENA_MAX, 1))


def give_back() -> None:
    """Return freed memory to the system; the interpreter keeps running meanwhile."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # not every C library has it
        trim(0)


class MemoryWatch:
    """A job: call `look` every few seconds. Level `ok`, `shrunk` (fewer recent trades) or `above` (that was not enough)."""

    def __init__(self, options: MemoryConfig, recent: Shrinkable, resident: Callable[[], int] = resident_bytes,
                 trim: Callable[[], None] = give_back) -> None:
        self._recent, self._resident, self._trim = recent, resident, trim
        self.limit_bytes = memory_limit(options)
        self._full_bytes = recent.max_bytes
        self.level, self.rss_bytes = "ok", 0

    def options_changed(self, options: MemoryConfig) -> None:
        """Use another limit from the next look on."""
        self.limit_bytes = memory_limit(options)

    def look(self) -> None:
        """Compare the resident memory with the limit; shrink the recent trades, or let them grow again."""
        self.rss_bytes = rss = self._resident()
        before = self.level
        if rss > self.limit_bytes:
            allowed = max(LEAST_BYTES, int(min(self._recent.nbytes, self._recent.max_bytes) * SHRINK))
            if self._recent.nbytes > LEAST_BYTES:
                self._recent.limit(allowed)
                self._trim()
                self.level = "shrunk" if before == "ok" else before
            else:
                self.level = "above"
        elif rss < self.limit_bytes * ROOM:
            if self._recent.max_bytes < self._full_bytes:
                self._recent.limit(min(self._full_bytes, int(self._recent.max_bytes * GROW) + 1))
            self.level = "ok" if self._recent.max_bytes >= self._full_bytes else "shrunk"
        if self.level != before:
            self._log_level()

    def _log_level(self) -> None:
        figures = f"rss_mb={self.rss_bytes / 1e6:.0f} limit_mb={self.limit_bytes / 1e6:.0f}"
        if self.level == "above":
            log.warning("memory above its limit, fewer recent trades did not help %s", figures)
        elif self.level == "shrunk":
            log.warning("memory near its limit, fewer recent trades are kept %s recent_mb=%.0f", figures,
                        self._recent.max_bytes / 1e6)
        else:
            log.info("memory within its limit again %s", figures)

    def figures(self) -> dict[str, Any]:
        """Return the figures for `status.json`."""
        return {"rss_bytes": self.rss_bytes, "limit_bytes": self.limit_bytes,
                "used_ratio": round(self.rss_bytes / self.limit_bytes, 4), "level": self.level,
                "recent_limit_bytes": self._recent.max_bytes}
