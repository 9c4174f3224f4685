"""Examine a collector and its data folder: the second half of `pumpwatch doctor`.

A problem is open or settled. Damage is settled if the ledger records its gap as lost, because its trades cannot come back and
nothing is left to do. It is shown as a note, and only `doctor --all` counts it as a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.findings import FAIL, NOTE, OK, WARN, Finding
from pumpwatch.model import Gap, GapState
from pumpwatch.ops import health
from pumpwatch.ops.judgement import judge
from pumpwatch.ops.machine import descriptors_of
from pumpwatch.ops.settled import SettledDamage
from pumpwatch.records import ConnectionEvent
from pumpwatch.store.ledger import FILE_NAME, Ledger, is_missing
from pumpwatch.store.missing import missing_files
from pumpwatch.store.reader import JournalReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.soundness import check_segments

SHOWN = 5  # names of many
LOOK_S = 20.0  # the limit for reading the journal, which may have several GB
FLAPPING, FLAPPING_NS = 3, 3600 * NS_PER_S  # losses of one connection within this time
DAMAGE = ("journal damaged", "the ledger was")  # how the reasons of gaps from damage begin
ASIDE = "ledger*damaged*"
RECOVERY = ("a backup or a sink may have these trades: `pumpwatch restore` unpacks a backup into an empty folder, "
            "`pumpwatch trades` and `pumpwatch verify --sinks` read the sinks")


def examine(folder: Path, clock: Clock | None = None) -> Iterator[Finding]:
    """Yield findings about a data folder: its collector, journal, gaps and quarantine. Problems do not raise errors."""
    clock = clock or Clock()
    yield from _set_aside(folder)
    try:
        if is_missing(folder) and not (folder / health.FILE).exists():
            yield Finding("data", OK, f"{folder} is new: nothing is stored yet")
            return
    except StorageError as error:
        yield Finding("ledger", FAIL, error.message, error.hint)
    yield from _collector(folder, clock)
    yield from _journal(folder, SettledDamage(_gaps_of(folder)))
    yield from _ledger(folder, clock)


def _collector(folder: Path, clock: Clock) -> Iterator[Finding]:
    try:
        status = health.read(folder, clock)
    except health.DamagedFigures as error:
        yield Finding("collector", FAIL, error.message, error.hint)
        return
    except ServiceUnavailable as error:
        yield Finding("collector", WARN, error.message, error.hint)
        return
    yield Finding("collector", OK, health.summary_line(status))
    if (descriptors := descriptors_of(int(status.get("pid", 0)))) is not None:
        yield descriptors
    yield from _days_left(status.get("disk") or {})
    yield from judge(status)


def _days_left(disk: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield how long the store's disk lasts; `judge` reports a short time as a problem."""
    days, share = disk.get("days_left"), disk.get("used_share")
    if share is not None:
        rate = "it does not fill up at present" if days is None else f"full in {days:.1f} days at the present rate"
        yield Finding("disk", OK, f"{share:.0%} used, {disk.get('free_bytes', 0) / 1e9:.1f} GB free, {rate}")


def _journal(folder: Path, settled: SettledDamage) -> Iterator[Finding]:
    journal = JournalReader(folder, Catalogue())
    try:
        segments = journal.segments()
    except StorageError as error:
        yield Finding("journal", FAIL, error.message, error.hint)
        return
    size = sum(segment.size_bytes() for segment in segments)
    number = f"{len(segments):,} segment{'' if len(segments) == 1 else 's'}"
    amount = f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    yield Finding("journal", OK, f"{number}, {sum(segment.trades for segment in segments):,} trades, {amount}")
    for line in journal.unreadable:
        name, _, problem = line.partition(": ")
        yield Finding("journal", _state_of(name, [problem], settled), line,
                      "the other files are used as they are; `pumpwatch verify` reads all of them")
    for missing in missing_files(folder, segments):
        yield Finding("journal", _state_of(missing.name, [missing.why], settled), f"{missing.name}: {missing.why}",
                      "put the file back into the journal folder if there is a copy; " + RECOVERY)
    yield from _damage(segments, settled)


def _damage(segments: Sequence[Segment], settled: SettledDamage) -> Iterator[Finding]:
    """Yield the damage that is found within LOOK_S."""
    not_read = 0
    for segment, lines in check_segments(segments, LOOK_S):
        not_read += lines is None
        if lines:
            more = f", and {len(lines) - 1:,} more" if len(lines) > 1 else ""
            yield Finding("journal", _state_of(segment.path.name, lines, settled),
                          f"{segment.path.name}: {lines[0]}{more}",
                          "its other batches are used; a running collector records a gap, `pumpwatch verify` lists all damage")
    if not_read:
        yield Finding("journal", OK, f"{not_read} of {len(segments)} segments were not read through within {LOOK_S:.0f} s",
                      "`pumpwatch verify` reads all of them")


def _state_of(name: str, lines: Sequence[str], settled: SettledDamage) -> str:
    return NOTE if settled.covers(name, lines) else FAIL


def _gaps_of(folder: Path) -> list[Gap]:
    try:
        if is_missing(folder):
            return []
        ledger = Ledger(folder, read_only=True)
        try:
            return [gap for _, gap in ledger.gaps()]
        finally:
            ledger.close()
    except StorageError:
        return []  # `_ledger` reports it


def _ledger(folder: Path, clock: Clock) -> Iterator[Finding]:
    if not (folder / FILE_NAME).exists() or not (folder / FILE_NAME).stat().st_size:
        return  # reported elsewhere
    try:
        ledger = Ledger(folder, read_only=True)
        try:
            gaps = [gap for _, gap in ledger.gaps()]
            events = ledger.connection_events(clock.now_ns() - FLAPPING_NS)
            quarantined = ledger.quarantine_count()
            ledger.check_pages()
        finally:
            ledger.close()
    except StorageError as error:
        yield Finding("ledger", FAIL, error.message, error.hint)
        return
    yield from _gaps(gaps)
    yield from _flapping(events)
    if quarantined:
        yield Finding("quarantine", WARN, f"{quarantined:,} frames or rows were neither trades nor known control",
                      "see the table `quarantine` in ledger.sqlite: it has their reasons and first bytes")
    else:
        yield Finding("quarantine", OK, "empty")


def _set_aside(folder: Path) -> Iterator[Finding]:
    aside = sorted(path.name for path in folder.glob(ASIDE) if not path.name.endswith(("-wal", "-shm", "-journal")))
    if aside:
        yield Finding("ledger", WARN, f"damaged and set aside: {', '.join(aside[:SHOWN])}{', ...' if aside[SHOWN:] else ''}",
                      "check the disk; the readable part is in the new ledger, so remove the file when you no longer need it")


def _gaps(gaps: Sequence[Gap]) -> Iterator[Finding]:
    states = Counter(gap.state for gap in gaps)
    unfilled = [gap for gap in gaps if gap.state != GapState.FILLED]
    damaged = [gap for gap in unfilled if gap.reason.startswith(DAMAGE)]
    if open_ := [gap for gap in damaged if gap.state == GapState.OPEN]:
        yield Finding("damage", FAIL, f"{len(open_):,} gaps from damaged files are open: {_reasons(open_)}",
                      f"check the disk; {RECOVERY}")
    if lost := [gap for gap in damaged if gap.state == GapState.LOST]:
        yield Finding("damage", NOTE, f"{len(lost):,} gaps from damaged files are recorded as lost: {_reasons(lost)}",
                      f"nothing is left to do here; {RECOVERY}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(gap.reason for gap in unfilled).most_common(3))
    seconds = sum(gap.to_ns - gap.from_ns for gap in unfilled if not gap.symbol) / NS_PER_S
    detail = f"{states[GapState.OPEN]:,} open, {states[GapState.LOST]:,} lost, {states[GapState.FILLED]:,} filled"
    if unfilled:
        yield Finding("gaps", WARN, f"{detail}; {reasons}; {seconds:,.0f} s in all, of whole venues and connections",
                      "list them with `pumpwatch gaps`")
    else:
        yield Finding("gaps", OK, detail)


def _reasons(gaps: Sequence[Gap]) -> str:
    return ", ".join(sorted({gap.reason for gap in gaps})[:SHOWN])


def _flapping(events: Sequence[ConnectionEvent]) -> Iterator[Finding]:
    """Yield the venues that repeatedly lost a connection."""
    losses = [(f"{event.exchange}.{event.market_type}", event) for event in events if event.event == "down"]
    lost = Counter((venue, event.connection) for venue, event in losses)
    last = {venue: event.reason for venue, event in losses}
    for name in sorted({venue for (venue, _), count in lost.items() if count >= FLAPPING}):
        counts = [count for (venue, _), count in lost.items() if venue == name and count >= FLAPPING]
        yield Finding(name, WARN, f"{len(counts)} of its connections were lost {sum(counts)} times within an hour, "
                                  f"the last time: {last[name]}",
                      "each loss is a gap: check the network, and whether other programs connect to the venue from this address")
