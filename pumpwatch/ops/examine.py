"""Look over what a collector left or is doing: the second half of `pumpwatch doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.model import GapState
from pumpwatch.ops import health
from pumpwatch.ops.doctor import FAIL, OK, WARN, Finding
from pumpwatch.store.ledger import FILE_NAME, Ledger, is_missing
from pumpwatch.store.missing import missing_files
from pumpwatch.store.reader import JournalReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.soundness import look_over

SHOWN = 5  # symbols of many
LOOK_S = 20.0  # for a look through the journal: several GB
LAG_MS = 5_000  # a venue's trades later than this: the clock or the line is wrong


def examine(folder: Path, clock: Clock | None = None) -> Iterator[Finding]:
    """Yield findings about a data folder: its collector, journal, gaps and refused frames."""
    try:
        if is_missing(folder):
            yield Finding("data", OK, f"{folder} is new: nothing is stored yet")
            return
    except StorageError as error:
        yield Finding("ledger", FAIL, error.message, error.hint)
    yield from _collector(folder, clock or Clock())
    yield from _journal(folder)
    yield from _ledger(folder)


def _collector(folder: Path, clock: Clock) -> Iterator[Finding]:
    try:
        status = health.read(folder, clock)
    except ServiceUnavailable as error:
        yield Finding("collector", WARN, error.message, error.hint)
        return
    yield Finding("collector", OK, health.summary_line(status))
    for row in status.get("venues", ()):
        name = f"{row['exchange']}.{row['market_type']}"
        up, wanted = row.get("connections_up", 0), row.get("connections", 0)
        if up < wanted or not wanted:
            yield Finding(name, WARN, f"{up} of {wanted} connections are up", "its log says why")
        silent = row.get("silent", ())
        if silent:
            yield Finding(name, WARN, f"{len(silent):,} symbols are subscribed and silent, though they trade: "
                                      f"{', '.join(silent[:SHOWN])}{', ...' if len(silent) > SHOWN else ''}",
                          "it subscribes again by itself; where all of a market are silent, has its address changed (ws_url)?")
        if row.get("lag_ms", 0) > LAG_MS:
            yield Finding(name, WARN, f"trades arrive {row['lag_ms'] / 1e3:.1f} s late",
                          "is this machine's clock right, and its line wide enough?")
    for sink in status.get("sinks", ()):
        if sink.get("backlog_trades", 0) > 1_000_000:
            yield Finding(f"sink {sink['name']}", WARN, f"{sink['state']}, {sink['backlog_trades']:,} trades behind",
                          "it catches up by itself once it answers; the journal keeps them meanwhile")
    dropped = status.get("journal", {}).get("dropped_trades", 0)
    if dropped:
        yield Finding("memory", FAIL, f"{dropped:,} trades were dropped while the disk refused them; the gaps are recorded",
                      "make room on the disk")


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


def _ledger(folder: Path) -> Iterator[Finding]:
    if not (folder / FILE_NAME).exists() or not (folder / FILE_NAME).stat().st_size:
        return  # that is found already
    try:
        ledger = Ledger(folder, read_only=True)
        try:
            gaps = [gap for _, gap in ledger.gaps()]
            refused = ledger.quarantine_count()
            ledger.check_pages()
        finally:
            ledger.close()
    except StorageError as error:
        yield Finding("ledger", FAIL, error.message, error.hint)
        return
    for path in sorted(folder.glob(f"{FILE_NAME}.damaged-*Z")):
        yield Finding("ledger", WARN, f"{path.name} was set aside: it was damaged",
                      "what was readable is in the new one; look for the disk's errors, and remove it when done")
    states = Counter(gap.state for gap in gaps)
    still = [gap for gap in gaps if gap.state != GapState.FILLED]
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(gap.reason for gap in still).most_common(3))
    seconds = sum(gap.to_ns - gap.from_ns for gap in still if not gap.symbol) / NS_PER_S
    detail = f"{states[GapState.OPEN]:,} open, {states[GapState.LOST]:,} lost, {states[GapState.FILLED]:,} filled"
    if still:
        yield Finding("gaps", WARN, f"{detail}; {reasons}; of venues and connections {seconds:,.0f} s, added up",
                      "`pumpwatch gaps` lists them")
    else:
        yield Finding("gaps", OK, detail)
    if refused:
        yield Finding("quarantine", WARN, f"{refused:,} frames or rows that were neither trades nor known control",
                      "they are in ledger.sqlite, table quarantine, with reason and first bytes")
    else:
        yield Finding("quarantine", OK, "empty")
