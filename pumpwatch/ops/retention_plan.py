"""List the segments of the journal and the days of sinks that retention would remove now, without removing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError
from pumpwatch.hookspecs import Sink
from pumpwatch.ops.cold_tier import ColdTier, cold_target, copy_name
from pumpwatch.ops.disk_watch import DiskUse, Level, disk_use, level_of
from pumpwatch.ops.retention import allowed_bytes
from pumpwatch.ops.verify import acknowledged_by
from pumpwatch.sink_abilities import DroppingSink
from pumpwatch.store.expiry import choose, ended_ns
from pumpwatch.store.reader import JournalReader

JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Due:
    """One file or day that is due for removal.

    store: `journal` or the sink's name. copied: whether the cold folder holds it; None without a cold folder.
    """

    store: str
    name: str
    from_ns: int
    to_ns: int
    trades: int
    size_bytes: int
    why: str
    copied: bool | None = None


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """The files and days that are due at these levels, and the sinks that did not answer."""

    levels: Mapping[str, Level]
    due: list[Due]
    problems: list[str]


def plan(config: Config, sinks: Mapping[str, Sink], clock: Clock | None = None, assumed: Level | None = None) -> RetentionPlan:
    """Return what retention would remove now, or at an assumed level. Raises StorageError if the journal cannot be read."""
    clock, made = clock or Clock(), RetentionPlan({}, [], [])
    levels = dict(made.levels)
    use = disk_use(Path(config.store.dir))
    levels[JOURNAL] = level_of(use.share, config.disk) if assumed is None else assumed
    made.due.extend(_segments(config, use, levels[JOURNAL], clock))
    for name, sink in sinks.items():
        if not isinstance(sink, DroppingSink):
            continue
        try:
            levels[name] = _level_of(sink, config) if assumed is None else assumed
            made.due.extend(_days(name, sink, levels[name], config, clock))
        except PumpWatchError as error:
            made.problems.append(f"{name}: {error.message}")
    return RetentionPlan(levels, made.due, made.problems)


def _level_of(sink: DroppingSink, config: Config) -> Level:
    folder = sink.files_in()
    return level_of(disk_use(Path(folder)).share, config.disk) if folder else Level.OK


def _segments(config: Config, use: DiskUse, level: Level, clock: Clock) -> Iterator[Due]:
    """Yield the segments that are removed because of their age or to make room, as the collector chooses them."""
    segments = JournalReader(Path(config.store.dir), Catalogue()).segments()
    safe = acknowledged_by(segments)
    acknowledged = min((safe.get(name, 0) for name in config.sinks), default=None)
    newest_ns = max((segment.last_timestamp for segment in segments if segment.trades), default=0)
    now_ns = min(clock.now_ns(), newest_ns)
    before_ns = now_ns - int(config.store.retention_hours * 3600 * NS_PER_S)
    young_ns = now_ns - int(config.disk.emergency_hours * 3600 * NS_PER_S)
    size = sum(segment.size_bytes() for segment in segments)
    younger = sum(segment.size_bytes() for segment in segments if ended_ns(segment) >= young_ns)
    most = min(config.store.max_bytes, allowed_bytes(size, younger, use, level, config.disk, in_sinks=bool(config.sinks)))
    for removed in choose(segments, before_ns, most, acknowledged, float("inf")):
        segment = removed.segment
        yield Due(JOURNAL, segment.path.name, segment.created_ns, ended_ns(segment), segment.trades, segment.size_bytes(),
                  "to make room" if removed.early else f"older than {config.store.retention_hours:g} h")


def _days(name: str, sink: DroppingSink, level: Level, config: Config, clock: Clock) -> Iterator[Due]:
    tier, target = ColdTier(name, sink, config.disk, clock), cold_target(config.disk)
    for day in tier.look(level):
        held = target.held(copy_name(target, name, day)) if target is not None else None
        yield Due(name, day.name, day.from_ns, day.to_ns, day.trades, day.size_bytes, f"older than {tier.keeps_days} days",
                  None if target is None else held is not None and held.trades == day.trades)


def run_on_sinks(config: Config, sinks: Mapping[str, Sink], clock: Clock | None = None) -> tuple[list[Due], list[str]]:
    """Copy and drop the days that are due, without a collector; return them, and the sinks that did not answer."""
    gone: list[Due] = []
    problems: list[str] = []
    for name, sink in sinks.items():
        if isinstance(sink, DroppingSink):
            tier = ColdTier(name, sink, config.disk, clock or Clock(), cold_target(config.disk))
            try:
                days = tier.run(_level_of(sink, config))
            except PumpWatchError as error:
                problems.append(f"{name}: {error.message}")
            else:
                gone += [Due(name, day.name, day.from_ns, day.to_ns, day.trades, day.size_bytes,
                             f"older than {tier.keeps_days} days") for day in days]
    return gone, problems
