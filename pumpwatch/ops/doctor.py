"""Look over what a collector left or is doing: the second half of `pumpwatch doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.model import Gap, GapState
from pumpwatch.ops import health
from pumpwatch.ops.judgement import FAIL, OK, WARN, judge
from pumpwatch.ops.preflight import Finding
from pumpwatch.records import ConnectionEvent
from pumpwatch.store.ledger import FILE_NAME, Ledger, is_missing
from pumpwatch.store.missing import missing_files
from pumpwatch.store.reader import JournalReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.soundness import look_over

SHOWN = 5  # symbols of many
LOOK_S = 20.0  # for a look through the journal: several GB
FLAPPING, FLAPPING_NS = 3, 3600 * NS_PER_S  # losses of one connection within that time
DAMAGE = ("journal damaged", "the ledger was")  # what gaps begin with that damage has made
ASIDE = "ledger*damaged*"


def examine(folder: Path, clock: Clock | None = None) -> Iterator[Finding]:
    """Yield findings about a data folder: its collector, journal, gaps and refused frames."""
    clock = clock or Clock()
    yield from _set_aside(folder)
    try:
        if is_missing(folder) and not (folder / health.FILE).exists():
            yield Finding("data", OK, f"{folder} is new: nothing is stored yet")
            return
    except StorageError as error:
        yield Finding("ledger", FAIL, error.message, error.hint)
    yield from _collector(folder, clock)
    yield from _journal(folder)
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
    for one in judge(status):
        yield Finding(one.name, one.severity, one.text, one.hint)


def _journal(folder: Path) -> Iterator[Finding]:
    journal = JournalReader(folder, Catalogue())
    try:
        segments = journal.segments()
    except StorageError as error:
        yield Finding("journal", FAIL, error.message, error.hint)
        return
    size = sum(segment.size_bytes() for segment in segments)
    yield Finding("journal", OK, f"{len(segments)} segments, {sum(one.trades for one in segments):,} trades, "
                                 f"{size / 1e9:.2f} GB")
    for line in journal.unreadable:
        yield Finding("journal", FAIL, line, "the rest is used as it is; `pumpwatch verify` reads all of it")
    for missing in missing_files(folder, segments):
        yield Finding("journal", FAIL, f"{missing.name}: {missing.why}", "put the file back, if it is anywhere")
    yield from _damage(segments)


def _damage(segments: Sequence[Segment]) -> Iterator[Finding]:
    """Yield what is damaged, as far as a look of some seconds shows it."""
    unseen = 0
    for segment, lines in look_over(segments, LOOK_S):
        unseen += lines is None
        if lines:
            more = f", and {len(lines) - 1:,} more" if len(lines) > 1 else ""
            yield Finding("journal", FAIL, f"{segment.path.name}: {lines[0]}{more}",
                          "the rest is used as it is; a running collector records a gap, `pumpwatch verify` tells all of it")
    if unseen:
        yield Finding("journal", OK, f"{unseen} of {len(segments)} segments were not looked through in {LOOK_S:.0f} s",
                      "`pumpwatch verify` reads all of it")


def _ledger(folder: Path, clock: Clock) -> Iterator[Finding]:
    if not (folder / FILE_NAME).exists() or not (folder / FILE_NAME).stat().st_size:
        return  # that is found already
    try:
        ledger = Ledger(folder, read_only=True)
        try:
            gaps = [gap for _, gap in ledger.gaps()]
            events = ledger.connection_events(clock.now_ns() - FLAPPING_NS)
            refused = ledger.quarantine_count()
            ledger.check_pages()
        finally:
            ledger.close()
    except StorageError as error:
        yield Finding("ledger", FAIL, error.message, error.hint)
        return
    yield from _gaps(gaps)
    yield from _flapping(events)
    if refused:
        yield Finding("quarantine", WARN, f"{refused:,} frames or rows that were neither trades nor known control",
                      "they are in ledger.sqlite, table quarantine, with reason and first bytes")
    else:
        yield Finding("quarantine", OK, "empty")


def _set_aside(folder: Path) -> Iterator[Finding]:
    aside = sorted(path.name for path in folder.glob(ASIDE) if not path.name.endswith(("-wal", "-shm", "-journal")))
    if aside:
        yield Finding("ledger", WARN, f"damaged and set aside: {', '.join(aside[:SHOWN])}{', ...' if aside[SHOWN:] else ''}",
                      "what could be read of it is in the new one; is the disk sound? Remove the file once it is of no use")


def _gaps(gaps: Sequence[Gap]) -> Iterator[Finding]:
    states = Counter(gap.state for gap in gaps)
    still = [gap for gap in gaps if gap.state != GapState.FILLED]
    damaged = [gap for gap in still if gap.reason.startswith(DAMAGE)]
    if damaged:
        reasons = ", ".join(sorted({gap.reason for gap in damaged})[:SHOWN])
        yield Finding("damage", FAIL, f"{len(damaged):,} gaps are open for what damage made unreadable: {reasons}",
                      "is the disk sound? A backup or a sink may have these trades: `pumpwatch restore` reads a backup into an "
                      "empty folder, `pumpwatch trades` and `pumpwatch verify --sinks` look into the sinks as well")
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(gap.reason for gap in still).most_common(3))
    seconds = sum(gap.to_ns - gap.from_ns for gap in still if not gap.symbol) / NS_PER_S
    detail = f"{states[GapState.OPEN]:,} open, {states[GapState.LOST]:,} lost, {states[GapState.FILLED]:,} filled"
    if still:
        yield Finding("gaps", WARN, f"{detail}; {reasons}; of venues and connections {seconds:,.0f} s, added up",
                      "`pumpwatch gaps` lists them")
    else:
        yield Finding("gaps", OK, detail)


def _flapping(events: Sequence[ConnectionEvent]) -> Iterator[Finding]:
    """Yield the venues of which a connection was lost again and again."""
    lost = Counter((f"{one.exchange}.{one.market_type}", one.connection) for one in events if one.event == "down")
    last = {f"{one.exchange}.{one.market_type}": one.reason for one in events if one.event == "down"}
    for name in sorted({name for (name, _), count in lost.items() if count >= FLAPPING}):
        often = {number: count for (of, number), count in lost.items() if of == name and count >= FLAPPING}
        yield Finding(name, WARN, f"{len(often)} of its connections were lost {sum(often.values())} times within an hour, "
                                  f"the last time: {last[name]}",
                      "each time is a gap; is the line good, and does one address have too many connections there?")
