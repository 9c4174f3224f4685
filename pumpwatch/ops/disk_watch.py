"""Watch the disks: the level of each, with hysteresis, and the days left at the present rate."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from pumpwatch.clock import Clock
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import StorageError

log = logging.getLogger(__name__)

RATE_LEAST_S, RATE_MOST_S = 600.0, 6 * 3600.0  # the time over which the present rate is measured
SAMPLE_S = 60.0
DAY_S = 86_400.0
STORE = "store"


class Level(IntEnum):
    """The level of a disk: fine, normal clean-up, emergency clean-up, or full, so that only recording goes on."""

    OK = 0
    CLEAN_UP = 1
    EMERGENCY = 2
    FULL = 3

    @property
    def word(self) -> str:
        """Return the level as figures name it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class DiskUse:
    """A file system, in bytes. free: the room for an ordinary user."""

    total: int
    free: int

    @property
    def used(self) -> int:
        """Return the used bytes of the total."""
        return self.total - self.free

    @property
    def share(self) -> float:
        """Return the used share, from 0 to 1; 1 for a file system of size 0."""
        return self.used / self.total if self.total else 1.0


def disk_use(folder: Path) -> DiskUse:
    """Return the use of the file system of a folder that exists or will be created. Raises OSError."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    state = os.statvfs(place)
    return DiskUse((state.f_blocks - state.f_bfree + state.f_bavail) * state.f_frsize, state.f_bavail * state.f_frsize)


def level_of(share: float, options: DiskConfig, before: Level = Level.OK) -> Level:
    """Return the level of a used share. A reached level ends `back_percent` below its threshold."""
    percent, found = share * 100, Level.OK
    for level, threshold in ((Level.CLEAN_UP, options.clean_up_percent), (Level.EMERGENCY, options.emergency_percent),
                             (Level.FULL, options.full_percent)):
        if percent > (threshold - options.back_percent if before >= level else threshold):
            found = level
    return found


@dataclass(slots=True)
class Disk:
    """One watched disk, as of the last look."""

    name: str
    folder: Path
    use: DiskUse | None = None
    level: Level = Level.OK
    samples: deque[tuple[float, int]] = field(default_factory=deque)  # monotonic seconds, used bytes

    def record(self, now_s: float, use: DiskUse) -> None:
        """Record the use; the samples of the last hours give the rate."""
        self.use = use
        if not self.samples or now_s - self.samples[-1][0] >= SAMPLE_S:
            self.samples.append((now_s, use.used))
        while self.samples[0][0] < now_s - RATE_MOST_S:
            self.samples.popleft()

    def days_left(self) -> float | None:
        """Return the days until the disk is full at the rate of the last hours; None if it does not fill up, or is unknown."""
        if self.use is None or len(self.samples) < 2:
            return None
        (first_s, first), (last_s, last) = self.samples[0], self.samples[-1]
        if last_s - first_s < RATE_LEAST_S or last <= first:
            return None
        return self.use.free / ((last - first) / (last_s - first_s)) / DAY_S

    def figures(self) -> dict[str, Any]:
        """Return the figures for `status.json`."""
        use, days = self.use or DiskUse(0, 0), self.days_left()
        return {"name": self.name, "folder": str(self.folder), "total_bytes": use.total, "free_bytes": use.free,
                "used_share": round(use.share, 4) if self.use else None, "level": self.level.word,
                "days_left": None if days is None else round(days, 2)}


def refuse_where_full(target: Path, options: DiskConfig) -> None:
    """Raise StorageError if the disk of `target`, to which a command would write a large file, is above `full_percent`."""
    use = disk_use(target)
    if level_of(use.share, options) is Level.FULL:
        raise StorageError(f"{target}: its disk is {use.share:.0%} full, more than disk.full_percent ({options.full_percent:g}): "
                           "only recording goes on there", "write to another disk, or make room on this one")


class DiskWatch:
    """The watched disks: of the store, of the archives, and of each sink on this machine.

    `look` and `use_now` block, and `look` belongs to one thread; all else may be read in any thread.
    """

    def __init__(self, options: DiskConfig, clock: Clock, store: Path, archives: Path,
                 use_of: Callable[[Path], DiskUse] = disk_use) -> None:
        self.options, self._clock, self._use_of = options, clock, use_of
        self._disks = {STORE: Disk(STORE, store), "archives": Disk("archives", archives)}

    def watch(self, name: str, folder: Path) -> None:
        """Watch one more disk, under the name of its sink."""
        if name not in self._disks or self._disks[name].folder != folder:
            self._disks[name] = Disk(name, folder)

    def options_changed(self, options: DiskConfig) -> None:
        """Use other thresholds from the next look on."""
        self.options = options

    def look(self) -> None:
        """Read the use of every disk; log each change of a level once."""
        for disk in list(self._disks.values()):
            try:
                use = self._use_of(disk.folder)
            except OSError as error:
                log.debug("disk not checked name=%s reason=%s", disk.name, error)
                continue
            disk.record(self._clock.monotonic(), use)
            level = level_of(use.share, self.options, disk.level)
            if level != disk.level:
                log_level = logging.INFO if level < disk.level and level < Level.EMERGENCY else logging.WARNING
                log.log(log_level, "disk %s disk=%s used=%.1f%% free_gb=%.1f folder=%s: %s", level.word.replace("_", " "),
                        disk.name,
                     use.share * 100, use.free / 1e9, disk.folder, EFFECTS[level])
            disk.level = level

    def level(self, name: str) -> Level:
        """Return the level of a disk; OK for an unknown disk."""
        return self._disks[name].level if name in self._disks else Level.OK

    def use_now(self, name: str) -> DiskUse | None:
        """Return the use of a disk at this moment; None for a disk that is not watched.

        If the disk does not answer, it is the use of the last look.
        """
        if name not in self._disks:
            return None
        try:
            return self._use_of(self._disks[name].folder)
        except OSError:
            return self._disks[name].use

    @property
    def only_recording(self) -> bool:
        """Return whether everything but recording pauses: archives, reports, exports and backups."""
        return max(self.level(STORE), self.level("archives")) >= Level.FULL

    def figures(self) -> dict[str, Any]:
        """Return the figures for `status.json`: the store's disk, and every disk by name."""
        disks = [disk.figures() for disk in list(self._disks.values())]
        worst = max(disk.level for disk in list(self._disks.values()))
        return {**{key: value for key, value in disks[0].items() if key != "name"}, "level": worst.word,
                "only_recording": self.only_recording, "disks": disks}


EFFECTS = {
    Level.OK: "no clean-up is needed",
    Level.CLEAN_UP: "sinks keep disk.cold_days",
    Level.EMERGENCY: "sinks keep disk.emergency_days, and segments that every sink has are removed early",
    Level.FULL: "archives, reports, exports and backups pause; recording goes on",
}
