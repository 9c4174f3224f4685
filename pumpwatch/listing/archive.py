"""A listing's archive: a folder with every trade of its window, an analysis and a chart.

    <archive_dir>/KITE_20261103T060000Z/         coin and announced time in UTC; another board's in the same second: .._BOARD
        raw/binance/spot.json                    one file per venue that lists the coin, even without trades
        raw/binance/futures.json
        raw/binance/spot_book.json               listing.books: snapshots of the order book, if there are any
        refined/pump_analysis.json               listing.analysis
        notice.json                              listing.notice_file: the notices, and what each source showed, and when
        chart.html                               listing.chart
        trades.parquet                           listing.parquet_file, if the extra `parquet` is installed
        manifest.json                            listing.manifest: checksums, completeness, passes, and durations

A raw file is one JSON object with one key per line. These keys come before `trades`:

- `format`, exchange, market_type, coin, and the venue's `symbols` with multiplier and contract size;
- `announced_at_ns`, `detected_at_ns`, `triggered_at_ns`, and the same in ISO 8601; `late`: seen long after the publication;
  `drill`: the notice was made up;
  `window`: a list of [from, to) in ns;
- `listings`: the listings of the archive;
- `gaps`: gaps of this venue that overlap the window and may have cost trades of this coin; and `count`, of the trades.

`trades` is an object of columns of equal length, sorted by timestamp (pandas: `DataFrame(raw["trades"])`), because a busy coin
has 100,000 trades in a window: symbol, side (the taker's: `buy`, `sell`), price and quantity (numbers; base units), trade_id
(text), sequence_number (integer or null), timestamp and received_at (ns since 1970 UTC: too large for a double, so read them
as integers), flags (integer, 0 for an ordinary trade).

Every file but the manifest is determined by the stored trades, gaps and listings, and by the order books of the existing
archive, so that it can be reproduced byte for byte.

An archive is complete or absent: it is written to a hidden folder and then moved into place (`listing.archive_swap`). An existing
archive is replaced only by one with at least as many trades.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pumpwatch import __version__
from pumpwatch.catalogue import Catalogue, VenueKey
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.abnormal import baseline_from_ns
from pumpwatch.listing.analysis import analyse
from pumpwatch.listing.archive_files import ArchiveFiles, trades_object
from pumpwatch.listing.archive_swap import partial_of, put_in_place, recover
from pumpwatch.listing.archived_trades import RAW_FORMAT
from pumpwatch.listing.books import VenueBooks, join_books, read_books, snapshots_of, write_books
from pumpwatch.listing.chart import chart_pieces
from pumpwatch.listing.completeness import Doubts, symbol_row, touches, venue_rows
from pumpwatch.listing.kept_trades import with_archived
from pumpwatch.listing.manifest import ArchiveManifest, MemberRow, iso, read_manifest, write_manifest
from pumpwatch.listing.notice_file import ShownSight, notice_object
from pumpwatch.listing.parquet_file import NAME as PARQUET
from pumpwatch.listing.parquet_file import parquet_pieces, pyarrow_version
from pumpwatch.model import Gap, Listing, TradeBatch
from pumpwatch.store.query import QueryPart

ANALYSIS_FORMAT = "pumpwatch.analysis/2"
ANALYSIS = Path("refined") / "pump_analysis.json"
NOTICE, CHART = "notice.json", "chart.html"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")  # in a folder's name


@dataclass(frozen=True, slots=True)
class Span:
    """The coin, listings and time of an archive. intervals: [from, to) in ns, ascending, disjoint."""

    coin: str
    listings: Sequence[Listing]
    intervals: Sequence[tuple[int, int]]
    late: bool = False
    name: str = ""  # of the folder; empty: `archive_name`
    seen: Sequence[ShownSight] = ()  # the sights of its listings

    @property
    def drill(self) -> bool:
        """Return whether this is the archive of a drill. Drills and real listings never share an archive."""
        return all(listing.drill for listing in self.listings)

    @property
    def announced_at_ns(self) -> int:
        """Return the earliest announcement, which gives the archive its name."""
        return min(listing.announced_at_ns for listing in self.listings)

    @property
    def query_from_ns(self) -> int:
        """Return the start of the trades to query: those of the window, and the baseline before it."""
        return min(self.intervals[0][0], baseline_from_ns(self.announced_at_ns))


@dataclass(frozen=True, slots=True)
class Archive:
    """A written archive. added: trades since the previous pass.

    kept: the existing files were left in place, because they have more trades or the same content.
    """

    path: Path
    trades: int
    kept: bool = False
    added: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """One writing of an archive, for its manifest. final: the last one. problems: why trades may be missing.

    unpublished: the sinks that must accept the listings; the manifest names them until they do. None: those that it names stay.
    unlisted: venues (`binance.spot`) whose instrument list has not arrived. books: the order books recorded so far; those of the
    existing archive are kept in any case. only_changes: leave the files in place if their content would be the same. made_by,
    members: as in the manifest; with members, the trades of the existing archive are kept.
    """

    at_ns: int
    final: bool = True
    problems: Sequence[str] = ()
    unpublished: tuple[str, ...] | None = None
    unlisted: Sequence[str] = ()
    books: Sequence[VenueBooks] = ()
    only_changes: bool = False
    made_by: str = ""
    members: tuple[MemberRow, ...] = ()


def archive_name(coin: str, announced_at_ns: int, drill: bool = False) -> str:
    """Return the folder's name: `KITE_20261103T060000Z`, or `DRILL-KITE_20261103T060000Z`."""
    return f"{'DRILL-' if drill else ''}{coin}_{datetime.fromtimestamp(announced_at_ns // NS_PER_S, UTC):%Y%m%dT%H%M%SZ}"


def free_name(archive_dir: Path, coin: str, announced_at_ns: int, board: str, taken: Collection[str] = (),
              drill: bool = False) -> str:
    """Return the name of an archive's folder; it ends in the board's name if another board's archive has the plain name.

    taken: names reserved for archives of other boards.
    """
    name = archive_name(coin, announced_at_ns, drill)
    if name not in taken and _boards_of(archive_dir / name) <= {board}:
        return name
    return f"{name}_{_UNSAFE.sub('_', board)[:32]}"


def _boards_of(path: Path) -> set[str]:
    """Return the boards of a written archive's listings; empty if it is unreadable."""
    try:
        rows = msgspec.json.decode((path / ANALYSIS).read_bytes())["listings"]
        return {str(row.get("exchange") or row["source"]) for row in rows}
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return set()


def write_archive(archive_dir: Path, span: Span, batch: TradeBatch, catalogue: Catalogue, parts: Sequence[QueryPart],
                  gaps: Sequence[Gap], made: Pass) -> Archive:
    """Write an archive and return it. Blocks. Raises StorageError, and leaves nothing half-written.

    Trades of other coins and outside the intervals are left out; those before the first interval are the baseline. Gaps are
    filtered by venue and symbol here. This pass is added to those of an existing manifest.
    """
    path = archive_dir / (span.name or archive_name(span.coin, span.announced_at_ns, span.drill))
    try:
        recover(path)
        if made.members:
            batch = with_archived(path, batch, catalogue)
        content = _Content(span, batch, catalogue, gaps)
        count = len(content.trades)
        known = trades_in(path)
        before = read_manifest(path)
        content.books = join_books(read_books(path, before.books if before else ()), made.books)
        content_id = content.digest(parts, made.unlisted)
        kept = known is not None and (known > count or (
            made.only_changes and before is not None and before.content_id == content_id))
        trades = max(known or 0, count)
        added = trades - (before.trades if before is not None else known or 0)
        manifest = (before or ArchiveManifest(coin=span.coin, drill=span.drill)).with_pass(
            made.at_ns, trades, added, final=made.final, late=span.late, problems=made.problems)
        if made.unpublished is not None and (before is None or added):
            manifest = msgspec.structs.replace(manifest, unpublished=made.unpublished)
        manifest = msgspec.structs.replace(manifest, made_by=made.made_by, members=made.members)
        if kept:
            write_manifest(path, manifest)
            return Archive(path, trades, kept=True, added=added)
        partial = partial_of(path)
        shutil.rmtree(partial, ignore_errors=True)
        try:
            manifest = msgspec.structs.replace(manifest, content_id=content_id, window=tuple(span.intervals))
            write_manifest(partial, _with_files(manifest, content, partial, parts, made))
            put_in_place(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot write the archive: {error.strerror or error}",
                           "make room on the disk, or set listing.archive_dir to a writable folder") from error
    return Archive(path, trades, added=added)


def trades_in(path: Path) -> int | None:
    """Return the number of trades of an archive; None if it is missing or unreadable."""
    overall = overall_in(path)
    return None if overall is None else int(overall["trades"])


def overall_in(path: Path) -> dict[str, Any] | None:
    """Return the part `overall` of an archive's analysis; None if it is missing or unreadable."""
    try:
        overall: dict[str, Any] = msgspec.json.decode((path / ANALYSIS).read_bytes())["overall"]
        return overall | {"trades": int(overall["trades"])}
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


def exchanges_in(path: Path) -> tuple[str, ...]:
    """Return the exchanges with trades in an archive, by name; empty if it is unreadable."""
    try:
        rows = msgspec.json.decode((path / ANALYSIS).read_bytes())["instruments"]
        return tuple(sorted({str(row["exchange"]) for row in rows if row["trades"]}))
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return ()


def read_analysis(path: Path) -> dict[str, Any]:
    """Return an archive's analysis as plain data. Raises StorageError if it is unreadable."""
    try:
        found = msgspec.json.decode((path / ANALYSIS).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"{path}: the archive cannot be read: {error}",
                           "make it again: pumpwatch listing replay COIN --at TIME") from error
    return found


def part_row(part: QueryPart) -> dict[str, Any]:
    """Return a part as plain data; `problem` only if there is one."""
    row = {"source": part.source, "rows": part.rows, "ms": round(part.ms, 3)}
    return row | ({"problem": part.problem} if part.problem else {})


class _Content:
    """The data of an archive, in an order that does not depend on the source of the trades."""

    def __init__(self, span: Span, batch: TradeBatch, catalogue: Catalogue, gaps: Sequence[Gap]) -> None:
        self.span, self.catalogue = span, catalogue
        self.books: Sequence[VenueBooks] = ()
        self.ids = sorted(catalogue.matching(span.coin),
                          key=lambda number: (catalogue.venues[number], catalogue.instruments[number].symbol))
        rows = _in_order(batch, self.ids)
        times = batch.timestamp[rows]
        inside = np.zeros(len(rows), bool)
        for start, end in span.intervals:
            inside |= (times >= start) & (times < end)
        self.trades = batch.take(rows[inside])
        # text ids are most of a batch's bytes, and those before the window are not used
        self.earlier = replace(batch, text_id=None).take(rows[:int(np.searchsorted(times, span.intervals[0][0]))])
        self.venues: dict[VenueKey, list[int]] = {}
        for number in self.ids:
            self.venues.setdefault(catalogue.venues[number], []).append(number)
        self.gaps = sorted(dict.fromkeys(gaps), key=lambda gap: (
            gap.exchange, gap.market_type, gap.from_ns, gap.to_ns, gap.symbol, gap.reason, gap.first_id or 0))

    def of(self, venue: VenueKey) -> TradeBatch:
        """Return the trades of a venue."""
        return self.trades.take(np.isin(self.trades.instrument, self.venues[venue]))

    def gaps_of(self, venue: VenueKey) -> list[dict[str, Any]]:
        """Return the gaps of a venue that touch the window, as plain data."""
        symbols = [self.catalogue.instruments[number].symbol for number in self.venues[venue]]
        return [asdict(gap) | {"state": str(gap.state)} for gap in self.gaps
                if touches(gap, venue, symbols, self.span.intervals)]

    def digest(self, parts: Sequence[QueryPart], unlisted: Sequence[str]) -> str:
        """Return a checksum of the inputs of all files: equal checksums mean equal files."""
        sums = [[np.bincount(batch.instrument, minlength=max(self.ids, default=0) + 1)[self.ids].tolist(),
                 *(float(column.sum()) for column in (batch.price, batch.quantity)),
                 *(int(column.sum()) for column in (batch.timestamp, batch.trade_id, batch.received_at, batch.flags))]
                for batch in (self.trades, self.earlier)]
        symbols = [[*self.catalogue.venues[number], self.catalogue.instruments[number].symbol] for number in self.ids]
        content = [__version__, pyarrow_version(), self.header(), self.notice_file(),
                   [self.gaps_of(venue) for venue in self.venues], sums, symbols,
                   sorted(map(list, set(self.catalogue.venues))), sorted({part.problem for part in parts}), sorted(unlisted),
                   [venue.content for venue in self.books]]
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()

    def header(self) -> dict[str, Any]:
        """Return the keys that raw files and the analysis share."""
        span, first = self.span, min(self.span.listings, key=lambda listing: listing.announced_at_ns)
        return {
            "announced_at_ns": first.announced_at_ns, "announced_at": iso(first.announced_at_ns),
            "detected_at_ns": first.detected_at_ns, "detected_at": iso(first.detected_at_ns),
            "triggered_at_ns": first.triggered_at_ns, "triggered_at": iso(first.triggered_at_ns),
            "late": span.late, "drill": span.drill, "needs_body": any(listing.needs_body for listing in span.listings),
            "window": [list(interval) for interval in span.intervals],
            "listings": [asdict(listing) for listing in span.listings],
        }

    def notice_file(self) -> dict[str, Any]:
        """Return the content of `notice.json`."""
        return notice_object(self.span.coin, self.span.listings, self.span.seen)


def _in_order(batch: TradeBatch, ids: Sequence[int]) -> NDArray[np.intp]:
    """Return the rows of these instruments by time, then by venue, symbol, sequence number, id and arrival."""
    rows = np.flatnonzero(np.isin(batch.instrument, ids))
    rows = rows[np.argsort(batch.timestamp[rows], kind="stable")]  # fast for rows in order, as a store returns them
    same = np.diff(batch.timestamp[rows]) == 0
    tied = np.concatenate(([False], same)) | np.concatenate((same, [False])) if len(rows) else np.zeros(0, bool)
    few = batch.take(rows[tied])
    rank = np.zeros(max(ids, default=0) + 1, np.int32)
    rank[np.array(ids, np.int64)] = np.arange(len(ids))
    keys: list[Any] = [few.received_at, few.trade_id, few.sequence_number, rank[few.instrument], few.timestamp]
    rows[tied] = rows[tied][np.lexsort(keys if few.text_id is None else [few.text_id, *keys])]
    return rows


def _with_files(manifest: ArchiveManifest, content: _Content, folder: Path, parts: Sequence[QueryPart],
                made: Pass) -> ArchiveManifest:
    """Write all files but the manifest, and return the manifest with their facts."""
    files, steps = ArchiveFiles(folder), {"query": round(sum(part.ms for part in parts), 3)}
    doubts = Doubts(content.gaps, sorted({part.problem for part in parts if part.problem}), made.unlisted)
    counts = {venue: int(np.count_nonzero(np.isin(content.trades.instrument, numbers)))
              for venue, numbers in content.venues.items()}
    venues = venue_rows(content.catalogue, content.ids, counts, content.span.intervals, doubts)
    with _timed(steps, "raw"):
        _write_raw(files, content)
    with _timed(steps, "books"):
        books = write_books(files, content.books, content.span.coin)
    with _timed(steps, "analysis"):
        analysis = _write_analysis(files, content)
    with _timed(steps, "chart"):
        shown = content.notice_file()
        files.write(CHART, chart_pieces(content.span.coin, analysis, content.trades, content.ids, content.catalogue,
                                        shown["notices"], shown["sights"]))
    versions = {"pumpwatch": __version__, "python": platform.python_version(), "numpy": np.__version__}
    if version := pyarrow_version():
        versions["pyarrow"] = version
        with _timed(steps, "parquet"):
            files.write(PARQUET, parquet_pieces(content.trades, content.ids, content.catalogue))
    return msgspec.structs.replace(manifest, files=dict(sorted(files.rows.items())), venues=venues, books=books, steps_ms=steps,
                                   parts=tuple(part_row(part) for part in parts), versions=versions)


@contextmanager
def _timed(steps: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    steps[name] = round((time.perf_counter() - started) * 1000, 3)


def _write_raw(files: ArchiveFiles, content: _Content) -> None:
    header, catalogue = content.header(), content.catalogue
    for venue, numbers in content.venues.items():
        trades = content.of(venue)
        exchange, market_type = venue
        files.write_object(f"raw/{exchange}/{market_type}.json", {
            "format": RAW_FORMAT, "exchange": exchange, "market_type": market_type, "coin": content.span.coin,
            "symbols": [symbol_row(catalogue.instruments[number]) for number in numbers], **header,
            "gaps": content.gaps_of(venue), "count": len(trades),
        }, trades_object(trades, catalogue))
    files.write_object(NOTICE, content.notice_file())


def _write_analysis(files: ArchiveFiles, content: _Content) -> dict[str, Any]:
    header = content.header()
    analysis = analyse(content.trades, content.catalogue, content.ids, header["announced_at_ns"], header["detected_at_ns"],
                       content.earlier, snapshots_of(content.books))
    files.write_object(ANALYSIS.as_posix(), {
        "format": ANALYSIS_FORMAT, "coin": content.span.coin, **header,
        "gaps": [gap for venue in content.venues for gap in content.gaps_of(venue)], **analysis})
    return header | analysis
