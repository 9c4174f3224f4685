"""Drop old days of a sink as its disk fills up, and first write each as Parquet if the config names a folder.

Days are dropped by the sink's own setting, and earlier above `disk.clean_up_percent` and `disk.emergency_percent`. The age of a
day counts from the earlier of our clock and the newest trades in the sink, so that a wrong clock alone removes nothing. A sink
that keeps its trades without limit loses none. With `disk.cold_dir` set, a day without a checked copy there is not dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import StorageError
from pumpwatch.hookspecs import Sink
from pumpwatch.ops.cold_file import ColdFolder, ColdTarget
from pumpwatch.ops.disk_watch import Level
from pumpwatch.sink_abilities import DroppingSink, KeepingSink, StoredDay

log = logging.getLogger(__name__)

DAY_NS, DAY_S = 86_400 * NS_PER_S, 86_400.0
AHEAD_DAYS = 2  # the copy is made this early, because the sink drops a day by itself when it is due


def kept_days(level: Level, own_days: int, options: DiskConfig) -> int:
    """Return how many days a sink keeps at a level; own_days: by its own setting. 0: without limit, at any level."""
    if not own_days or level is Level.OK:
        return own_days
    return min(own_days, options.cold_days if level is Level.CLEAN_UP else options.emergency_days)


def due_days(days: Sequence[StoredDay], keep: int, now_ns: int) -> list[StoredDay]:
    """Return the days that are older than `keep` days, the oldest first; none for 0."""
    if not days or not keep:
        return []
    now_ns = min(now_ns, max(day.to_ns for day in days))  # excludes the day being written
    return [day for day in sorted(days, key=lambda day: day.from_ns) if day.to_ns <= now_ns - keep * DAY_NS]


@dataclass(slots=True)
class _Seen:
    """A sink's days, as of the last look."""

    days: Sequence[StoredDay] = ()
    own_days: int = 0
    keep: int = 0
    due: list[StoredDay] = field(default_factory=list)


class ColdTier:
    """The days of one sink. `look` and `run` block and belong to one thread."""

    def __init__(self, name: str, sink: DroppingSink, options: DiskConfig, clock: Clock,
                 target: ColdTarget | None = None) -> None:
        self.name, self._sink, self._options, self._clock, self._target = name, sink, options, clock, target
        self._seen = _Seen()
        self._shortened = False  # the sink's own setting was replaced
        self._logged: set[str] = set()
        self._dropped: set[str] = set()  # days that are removed with the sink's next write at the latest

    def files_in(self) -> str:
        """Return the folder of the sink's files; empty if it is not on this machine. Raises PumpWatchError."""
        return self._sink.files_in()

    def look(self, level: Level) -> list[StoredDay]:
        """Read the sink's days; return those that are due at this level. Raises PumpWatchError."""
        own_days = round(self._sink.keeping().keeps_s / DAY_S) if isinstance(self._sink, KeepingSink) else 0
        days = self._sink.days()
        keep = kept_days(level, own_days, self._options)
        self._seen = _Seen(days, own_days, keep, due_days(days, keep, self._clock.now_ns()))
        return self._seen.due

    @property
    def keeps_days(self) -> int:
        """Return how many days the sink had to keep at the last look; 0: without limit."""
        return self._seen.keep

    def options_changed(self, options: DiskConfig, target: ColdTarget | None) -> None:
        """Use other options from the next run on."""
        self._options, self._target = options, target

    def run(self, level: Level, only_recording: bool = False) -> list[StoredDay]:
        """Copy and drop the days that are due; return the dropped ones, some of which the sink's next write removes.

        only_recording: nothing is copied. Raises PumpWatchError if the sink does not answer.
        """
        due = self.look(level)
        seen = self._seen
        if level >= Level.EMERGENCY and not seen.own_days:
            self._warn_once("no limit", "nothing is dropped though the disk fills up, the sink keeps its trades without limit "
                            "sink=%s", self.name)
        ready, soon = (due, True) if self._target is None else self._copied(only_recording)
        if seen.keep == seen.own_days:
            if self._shortened:
                self._sink.keep_days(0)
                self._shortened = False
            if level is Level.OK:
                return []  # the sink drops them by itself
        elif soon and len(ready) == len(due):  # every day that this setting drops now or soon has a copy
            self._sink.keep_days(seen.keep)
            self._shortened = True
        elif self._shortened:  # or the sink would drop the next days by itself, copied or not
            self._sink.keep_days(0)
            self._shortened = False
        if ready:
            self._sink.drop_days(ready)
        fresh = [day for day in ready if day.name not in self._dropped]
        self._dropped = {day.name for day in ready}
        if fresh:
            log.warning(
                "days dropped because the disk fills up sink=%s level=%s days=%d first=%s last=%s trades=%d bytes=%d "
                "keeps_days=%d",
                self.name, level.word, len(fresh), fresh[0].name, fresh[-1].name, sum(day.trades for day in fresh),
                sum(day.size_bytes for day in fresh), seen.keep)
        return fresh

    def _copied(self, only_recording: bool) -> tuple[list[StoredDay], bool]:
        """Copy the days that are due now or soon; return the due days with a copy, and whether all days have one."""
        seen, target = self._seen, self._target
        copied: list[StoredDay] = []
        complete = True
        if target is None or not seen.keep:
            return copied, complete
        for day in due_days(seen.days, max(1, seen.keep - AHEAD_DAYS), self._clock.now_ns()):
            name = copy_name(target, self.name, day)
            if not _is_held(target, name, day) and (only_recording or not self._copy(target, name, day)):
                complete = False
            elif day in seen.due:
                copied.append(day)
        return copied, complete

    def _copy(self, target: ColdTarget, name: str, day: StoredDay) -> bool:
        try:
            made = target.store(name, *self._sink.day_sums(day), partial(self._sink.write_parquet, day))
        except StorageError as error:
            self._warn_once(name, "day not copied, so it is kept sink=%s day=%s reason=%s", self.name, day.name, error)
            return False
        log.info("day copied sink=%s day=%s trades=%d bytes=%d", self.name, day.name, made.trades, made.size_bytes)
        return True

    def _warn_once(self, key: str, template: str, *values: object) -> None:
        if key not in self._logged:
            self._logged.add(key)
            log.warning(template, *values)

    def figures(self) -> dict[str, Any]:
        """Return the figures for `status.json`, as of the last look; any thread."""
        seen = self._seen
        return {"sink": self.name, "bytes": sum(day.size_bytes for day in seen.days), "days": len(seen.days),
                "keeps_s": seen.keep * DAY_S, "oldest_ns": min((day.from_ns for day in seen.days), default=None),
                "due": len(seen.due)}


def copy_name(target: ColdTarget, sink: str, day: StoredDay) -> str:
    """Return the name of a day's copy.

    If a dropped day has come back with fewer trades, it gets another name, so that the fuller copy stays.
    """
    name = f"{sink}/{day.name}"
    held = target.held(name)
    return name if held is None or held.trades <= day.trades else f"{name}-{day.trades}"


def _is_held(target: ColdTarget, name: str, day: StoredDay) -> bool:
    held = target.held(name)
    return held is not None and held.trades == day.trades


def cold_target(options: DiskConfig) -> ColdTarget | None:
    """Return the place for copies of days; None if the config does not name one."""
    return ColdFolder(Path(options.cold_dir)) if options.cold_dir else None


def cold_tiers(sinks: Mapping[str, Sink], options: DiskConfig, clock: Clock) -> list[ColdTier]:
    """Return a ColdTier for each sink that can drop whole days."""
    target = cold_target(options)
    return [ColdTier(name, sink, options, clock, target) for name, sink in sinks.items() if isinstance(sink, DroppingSink)]
