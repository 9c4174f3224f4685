"""A listing's archive: a folder with every trade of its window, and their analysis.

    <archive_dir>/KITE_20261103T060000Z/         coin, and the announced time in UTC
        raw/binance/spot.json                    one file for each venue that lists the coin, also without trades
        raw/binance/futures.json
        refined/pump_analysis.json               listing.analysis, and where the trades came from
        manifest.json                            listing.manifest: the passes, the trades each added, when it was final

A raw file is one JSON object, one key a line. These keys come before `trades`:

- `format`, exchange, market_type, coin, and the venue's `symbols` with multiplier and contract size;
- `announced_at_ns`, `detected_at_ns`, `triggered_at_ns`, and the same in ISO 8601; `late`: seen long after its publication;
  `drill`: the notice was made up;
  `window`: a list of [from, to) in ns;
- `listings`: those it belongs to; `parts`: the parts of the store that were queried, each with its ms, and its problem where
  it could not return everything;
- `gaps`: those of this venue that overlap the window and may have lost trades of this coin; and `count`.

`trades` is an object of columns of one length, sorted by timestamp (pandas: `DataFrame(raw["trades"])`), because a
busy coin has 100,000 trades in a window: symbol, side (`buy`, `sell`: the taker's), price and quantity (numbers; base
units), trade_id (text), sequence_number (integer or null), timestamp and received_at (ns since 1970 UTC: too large for a
double, so read them as integers), flags (integer, 0 for an ordinary trade).

An archive is complete or absent: it is written to a hidden folder and renamed. An existing archive is replaced only by one
with at least as many trades.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.analysis import analyse
from pumpwatch.listing.manifest import ArchiveManifest, iso, read_manifest, write_manifest
from pumpwatch.model import NO_SEQUENCE, SIDES, Gap, Listing, TradeBatch
from pumpwatch.store.query import QueryPart

RAW_FORMAT = "pumpwatch.raw/1"
ANALYSIS_FORMAT = "pumpwatch.analysis/1"
ANALYSIS = Path("refined") / "pump_analysis.json"


@dataclass(frozen=True, slots=True)
class Span:
    """The coin, listings and time of an archive. intervals: [from, to) in ns, ascending, disjoint."""

    coin: str
    listings: Sequence[Listing]
    intervals: Sequence[tuple[int, int]]
    late: bool = False

    @property
    def drill(self) -> bool:
        """Return whether the archive is of a drill; drills and notices of a board never share one."""
        return all(listing.drill for listing in self.listings)

    @property
    def announced_at_ns(self) -> int:
        """Return the first announcement, from which the archive has its name."""
        return min(listing.announced_at_ns for listing in self.listings)


@dataclass(frozen=True, slots=True)
class Archive:
    """A written archive. kept: an older one with more trades was left in place. added: trades since the previous pass."""

    path: Path
    trades: int
    kept: bool = False
    added: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """One writing of an archive, for its manifest: the time, whether it is the last one, and why trades may be missing.

    unpublished: the sinks that the listings are for. The manifest names them as long as they have not accepted them; None:
    those that it names already stay.
    """

    at_ns: int
    final: bool = True
    problems: Sequence[str] = ()
    unpublished: tuple[str, ...] | None = None


def archive_name(coin: str, announced_at_ns: int, drill: bool = False) -> str:
    """Return the folder's name: `KITE_20261103T060000Z`, or `DRILL-KITE_20261103T060000Z`."""
    return f"{'DRILL-' if drill else ''}{coin}_{datetime.fromtimestamp(announced_at_ns // NS_PER_S, UTC):%Y%m%dT%H%M%SZ}"


def write_archive(archive_dir: Path, span: Span, batch: TradeBatch, catalogue: Catalogue, parts: Sequence[QueryPart],
                  gaps: Sequence[Gap], made: Pass) -> Archive:
    """Write an archive and return it. Blocks. Raises StorageError, and leaves nothing half-written.

    Trades outside the intervals, and of other coins, are left out. Gaps are filtered by venue and symbol here. The passes of an
    existing manifest are kept, and this one is added.
    """
    path = archive_dir / archive_name(span.coin, span.announced_at_ns, span.drill)
    ids = catalogue.matching(span.coin)
    inside = np.zeros(len(batch), bool)
    for start, end in span.intervals:
        inside |= (batch.timestamp >= start) & (batch.timestamp < end)
    batch = batch.take(inside & np.isin(batch.instrument, ids))
    batch = batch.take(np.argsort(batch.timestamp, kind="stable"))
    try:
        _recover(path)
        known = trades_in(path)
        before = read_manifest(path)
        kept = known is not None and known > len(batch)
        trades = max(known or 0, len(batch))
        added = trades - (before.trades if before is not None else known or 0)
        manifest = (before or ArchiveManifest(coin=span.coin, drill=span.drill)).with_pass(
            made.at_ns, trades, added, final=made.final, late=span.late, problems=made.problems)
        if made.unpublished is not None and (before is None or added):
            manifest = msgspec.structs.replace(manifest, unpublished=made.unpublished)
        if kept:
            write_manifest(path, manifest)
            return Archive(path, trades, kept=True, added=added)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _write(partial, span, batch, catalogue, ids, parts, gaps)
            write_manifest(partial, manifest)
            _put_in_place(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot write the archive: {error.strerror or error}",
                           "make room on the disk, or set listing.archive_dir to a writable folder") from error
    return Archive(path, trades, added=added)


def trades_in(path: Path) -> int | None:
    """Return how many trades an archive holds, None where it is missing or unreadable."""
    try:
        return int(msgspec.json.decode((path / ANALYSIS).read_bytes())["overall"]["trades"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


def exchanges_in(path: Path) -> tuple[str, ...]:
    """Return the exchanges that have trades in an archive, by name; none where it is unreadable."""
    try:
        rows = msgspec.json.decode((path / ANALYSIS).read_bytes())["instruments"]
        return tuple(sorted({str(row["exchange"]) for row in rows if row["trades"]}))
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return ()


def read_analysis(path: Path) -> dict[str, Any]:
    """Return an archive's analysis as plain data. Raises StorageError where it is unreadable."""
    try:
        found = msgspec.json.decode((path / ANALYSIS).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"{path}: the archive cannot be read: {error}",
                           "make it again: pumpwatch listing replay COIN --at TIME") from error
    return found


def part_row(part: QueryPart) -> dict[str, Any]:
    """Return a part as plain data, with `problem` only where there is one."""
    row = {"source": part.source, "rows": part.rows, "ms": round(part.ms, 3)}
    return row | ({"problem": part.problem} if part.problem else {})


def _write(folder: Path, span: Span, batch: TradeBatch, catalogue: Catalogue, ids: Sequence[int],
           parts: Sequence[QueryPart], gaps: Sequence[Gap]) -> None:
    venues: dict[tuple[str, str], list[int]] = {}
    for number in ids:
        venues.setdefault(catalogue.venues[number], []).append(number)
    first = min(span.listings, key=lambda listing: listing.announced_at_ns)
    header = {
        "announced_at_ns": first.announced_at_ns, "announced_at": iso(first.announced_at_ns),
        "detected_at_ns": first.detected_at_ns, "detected_at": iso(first.detected_at_ns),
        "triggered_at_ns": first.triggered_at_ns, "triggered_at": iso(first.triggered_at_ns),
        "late": span.late, "drill": span.drill, "needs_body": any(listing.needs_body for listing in span.listings),
        "window": [list(interval) for interval in span.intervals],
        "listings": [asdict(listing) for listing in span.listings],
        "parts": [part_row(part) for part in parts],
    }
    for (exchange, market_type), numbers in sorted(venues.items()):
        trades = batch.take(np.isin(batch.instrument, numbers))
        instruments = [catalogue.instruments[number] for number in numbers]
        symbols = [{"symbol": instrument.symbol, "base": instrument.base, "quote": instrument.quote,
                    "multiplier": instrument.multiplier, "contract_size": instrument.contract_size,
                    "status": instrument.status} for instrument in instruments]
        named = {instrument.symbol for instrument in instruments}
        raw = {
            "format": RAW_FORMAT, "exchange": exchange, "market_type": market_type, "coin": span.coin,
            "symbols": symbols, **header,
            "gaps": [_gap(gap) for gap in gaps if _touches(gap, exchange, market_type, named, span.intervals)],
            "count": len(trades),
        }
        _write_file(folder / "raw" / exchange / f"{market_type}.json", raw, _columns(trades, catalogue))
    analysis = analyse(batch, catalogue, list(ids), first.announced_at_ns, first.detected_at_ns)
    touching = [gap for gap in gaps if any(
        _touches(gap, *venue, {catalogue.instruments[number].symbol for number in numbers}, span.intervals)
        for venue, numbers in venues.items())]
    _write_file(folder / ANALYSIS, {"format": ANALYSIS_FORMAT, "coin": span.coin, **header,
                                    "gaps": [_gap(gap) for gap in touching], **analysis}, None)


def _columns(trades: TradeBatch, catalogue: Catalogue) -> dict[str, list[Any]]:
    return {
        "timestamp": trades.timestamp.tolist(),
        "symbol": [catalogue.instruments[number].symbol for number in trades.instrument.tolist()],
        "side": [SIDES[side] for side in trades.side.tolist()],
        "price": trades.price.tolist(),
        "quantity": trades.quantity.tolist(),
        "trade_id": trades.id_texts(),
        "sequence_number": [None if number == NO_SEQUENCE else number for number in trades.sequence_number.tolist()],
        "received_at": trades.received_at.tolist(),
        "flags": trades.flags.tolist(),
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return asdict(gap) | {"state": str(gap.state)}


def _touches(gap: Gap, exchange: str, market_type: str, symbols: set[str],
             intervals: Sequence[tuple[int, int]]) -> bool:
    if (gap.exchange, gap.market_type) != (exchange, market_type) or not any(map(gap.touches, symbols)):
        return False
    return any(gap.from_ns < end and max(gap.to_ns, gap.from_ns + 1) > start for start, end in intervals)


def _write_file(path: Path, header: Mapping[str, Any], columns: Mapping[str, Sequence[Any]] | None) -> None:
    """Write one JSON object, a key a line; encoded piece by piece, so that no single call is long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        lines = [b'"%s": %s' % (key.encode(), msgspec.json.encode(value)) for key, value in header.items()]
        out.write(b"{\n" + b",\n".join(lines))
        if columns is not None:
            out.write(b',\n"trades": {')
            for number, (name, values) in enumerate(columns.items()):
                out.write(b'%s\n  "%s": ' % (b"," if number else b"", name.encode()) + msgspec.json.encode(values))
            out.write(b"\n}")
        out.write(b"\n}\n")
        out.flush()
        os.fsync(out.fileno())


def _put_in_place(partial: Path, path: Path) -> None:
    """Rename the new folder to its name; the old one is renamed first, and `_recover` repairs a crash in between."""
    aside = path.with_name(f".{path.name}.replaced")
    if path.exists():
        path.rename(aside)
    partial.rename(path)
    shutil.rmtree(aside, ignore_errors=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _recover(path: Path) -> None:
    aside = path.with_name(f".{path.name}.replaced")
    if aside.exists():
        if path.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(path)
