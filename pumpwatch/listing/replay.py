"""Recreate an archive from the store (`listing replay`), and show listings with their archives (`listing show`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.listing.archive import (
    Pass,
    Span,
    archive_name,
    free_name,
    overall_in,
    part_row,
    read_analysis,
    trades_in,
    write_archive,
)
from pumpwatch.listing.archive_swap import recover
from pumpwatch.listing.completeness import INCOMPLETE
from pumpwatch.listing.context import reaches_of
from pumpwatch.listing.inbox import coin_name
from pumpwatch.listing.manifest import iso, read_manifest
from pumpwatch.listing.notice_file import seen_of
from pumpwatch.listing.open_window import LOOKS_S, intervals_of, joined
from pumpwatch.listing.validation import time_problem
from pumpwatch.model import Gap, Instrument, Listing, TradeBatch
from pumpwatch.store.ledger import Ledger, is_missing
from pumpwatch.store.query import QueryPart
from pumpwatch.store.sights import Sight

NEAR_S = 60.0  # a stored listing this close to the given time is replayed with its own times


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """A window as stored. path: of its archive, which may not exist. batch: includes the time before the window."""

    span: Span
    batch: TradeBatch
    catalogue: Catalogue
    parts: Sequence[QueryPart]
    gaps: Sequence[Gap]
    path: Path


def stored_window(config: Config, coin: str, at_ns: int, *, clock: Clock | None = None) -> StoredWindow:
    """Return a coin's window around a time, from the stored trades; write nothing. Raises as `replay` does."""
    ledger = _ledger(config, read_only=True)
    try:
        return _stored_window(config, ledger, coin_name(coin), at_ns, (clock or Clock()).now_ns())
    finally:
        ledger.close()


def replay(config: Config, coin: str, at_ns: int, *, clock: Clock | None = None) -> dict[str, Any]:
    """Write the archive of a coin's window around a time, from the stored trades, with or without a running collector.

    A listing stored near that time is replayed with its own times (of two boards, the nearest one); otherwise the given time is
    used as announcement and detection. The manifest of an existing archive says which instruments the venues listed, so the same
    trades, gaps and listings reproduce every file but the manifest byte for byte. Existing order books are kept. They are stored
    only in the archive, so an archive that was removed is recreated without them.

    Returns archive (path), coin, trades, books (snapshots in the archive), kept (an older archive with more trades was left in
    place), window, listings, parts and venues. Raises UsageError for an invalid coin or time, PumpWatchError if nothing of the
    coin is stored, StorageError and ServiceUnavailable as the store does.
    """
    coin = coin_name(coin)
    now_ns = (clock or Clock()).now_ns()
    ledger = _ledger(config)
    try:
        window = _stored_window(config, ledger, coin, at_ns, now_ns)
        listings, intervals, catalogue = window.span.listings, window.span.intervals, window.catalogue
        last_ns = intervals_of(listings, reaches_of(config.listing)[-1])[-1][1]
        final = now_ns >= last_ns + int(LOOKS_S[-1] * NS_PER_S)
        problems = sorted({part.problem for part in window.parts if part.problem})
        archive = write_archive(Path(config.listing.archive_dir), window.span, window.batch, catalogue, window.parts, window.gaps,
                                Pass(now_ns, final, problems))
        for listing in listings:
            ledger.finish_listing(listing.source, listing.notice_id, listing.symbol, str(archive.path), archive.trades)
    finally:
        ledger.close()
    manifest = read_manifest(archive.path)
    books = sum(row.snapshots for row in manifest.books) if manifest else 0
    return {"archive": str(archive.path), "coin": coin, "trades": archive.trades, "books": books, "kept": archive.kept,
            "window": [[iso(start), iso(end)] for start, end in intervals],
            "listings": [f"{listing.source}:{listing.notice_id}" for listing in listings],
            "parts": [part_row(part) for part in window.parts],
            "venues": sorted({".".join(catalogue.venues[number]) for number in catalogue.matching(coin)})}


def _stored_window(config: Config, ledger: Ledger, coin: str, at_ns: int, now_ns: int) -> StoredWindow:
    from pumpwatch.plugins import load_plugins
    from pumpwatch.store.stored import StoredTrades

    if problem := time_problem(at_ns, now_ns):
        raise UsageError(f"the time {iso(at_ns)} {problem}",
                         "give the time at which the coin was announced, as in 2026-11-21T10:00:00Z")
    listings, name = _listings_near(config, ledger, coin, at_ns)
    known = bool(listings)
    if not known:
        listings = [_unknown_listing(coin, at_ns, now_ns)]
    path = Path(config.listing.archive_dir) / (name or archive_name(coin, min(row.announced_at_ns for row in listings)))
    intervals = _intervals(config, listings, path, now_ns)
    stored = StoredTrades(config, load_plugins(config))
    late = known and all(_is_late(config, listing) for listing in listings)
    span = Span(coin, listings, intervals, late, name, seen_of(ledger, listings))
    found, catalogue = stored.of(coin, span.query_from_ns, intervals[-1][1]), stored.catalogue
    _add_instruments(catalogue, path)
    if not known and not catalogue.matching(coin):
        raise PumpWatchError(f"nothing of {coin} is stored around {iso(at_ns)}",
                             "check the coin and the time: `pumpwatch listing show` lists the known listings")
    return StoredWindow(span, found.batch, catalogue, found.parts, ledger.gaps_between(intervals[0][0], intervals[-1][1]), path)


def show(config: Config, wanted: str | None = None) -> list[dict[str, Any]]:
    """Return the listings and archives of a data folder, oldest first; with `wanted` only the matching ones, with analysis.

    wanted: a coin, a notice id (`upbit:6642` or `6642`), or an archive's name. Each row has id, source, notice_id, coin, title,
    announced_at, detected_at, late, drill, needs_body, trades, archive, state, problem, the archive's final, final_at and passes,
    exchange, kind (`notice` or `market_opened`), delay_ms (from publication to earliest sight), sights, first_mover
    (`binance.spot`, or None), peak_percent (or None), incomplete (venues whose trades may be missing; None if unknown), made_by
    and members (in a cluster, as in the manifest). A sight has source, notice_id, kind, seen_at, behind_ms (since the earliest
    sight), title, edits, edited_at and member (the collector that saw it, in a cluster). state is `open`, `written`, `missing`
    (the archive was removed) or `problem` (`problem` has the reason).
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    archives: set[str] = set()
    if not is_missing(Path(config.store.dir)):
        ledger = _ledger(config, read_only=True)
        try:
            sights = _sights(ledger)
            for record in ledger.listings():
                rows[record.listing.key] = _row(config, record.listing, record.archive, record.trades, record.problem,
                                                sights.get(record.listing.key, ()))
                archives.add(Path(record.archive).name)
        finally:
            ledger.close()
    for path in sorted(Path(config.listing.archive_dir).glob("[A-Z0-9]*_*Z*")):
        if path.name not in archives and trades_in(path) is not None:
            for made in read_analysis(path)["listings"]:
                listing = Listing(**made)
                rows.setdefault(listing.key, _row(config, listing, str(path), trades_in(path)))
    found = sorted(rows.values(), key=lambda row: (row["announced_at"], row["coin"]))
    if wanted is None:
        return found
    names = {wanted, wanted.upper(), Path(wanted).name}
    found = [row for row in found if names & {row["id"], row["notice_id"], row["coin"], Path(row["archive"]).name}]
    return [row | {"analysis": read_analysis(Path(row["archive"])) if row["state"] == "written" else None}
            for row in found]


def _sights(ledger: Ledger) -> dict[tuple[str, str, str], list[Sight]]:
    """Return the sights of each listing, earliest first."""
    found: dict[tuple[str, str, str], list[Sight]] = {}
    for sight in ledger.sights():
        found.setdefault((sight.of_source, sight.of_notice_id, sight.symbol), []).append(sight)
    return found


def _sight_row(sight: Sight, first_ns: int) -> dict[str, Any]:
    return {"source": sight.source, "notice_id": sight.notice_id, "kind": sight.kind, "seen_at": iso(sight.seen_at_ns),
            "behind_ms": (sight.seen_at_ns - first_ns) / NS_PER_MS, "title": sight.title, "edits": sight.edits,
            "edited_at": iso(sight.edited_at_ns) if sight.edits else None, "member": sight.member}


def _row(config: Config, listing: Listing, archive: str, trades: int | None, problem: str = "",
         sights: Sequence[Sight] = ()) -> dict[str, Any]:
    state, overall = "open", overall_in(Path(archive)) if archive else None
    if trades is not None:
        state = "written" if overall is not None else "missing"
    first = (overall or {}).get("order") or [None]
    manifest = read_manifest(Path(archive)) if archive else None
    passes = [msgspec.structs.asdict(row) for row in manifest.passes] if manifest else []
    return {"id": f"{listing.source}:{listing.notice_id}", "source": listing.source, "notice_id": listing.notice_id,
            "coin": listing.symbol, "title": listing.title, "announced_at": iso(listing.announced_at_ns),
            "detected_at": iso(listing.detected_at_ns), "late": _is_late(config, listing), "drill": listing.drill,
            "needs_body": listing.needs_body, "state": "problem" if problem else state, "problem": problem,
            "trades": trades or 0, "archive": archive, "final": manifest.final if manifest else None,
            "final_at": manifest.final_at if manifest else None, "passes": passes,
            "made_by": manifest.made_by if manifest else "",
            "members": [msgspec.structs.asdict(row) for row in manifest.members] if manifest else [],
            "exchange": listing.board, "kind": listing.kind,
            "delay_ms": (listing.detected_at_ns - listing.announced_at_ns) / NS_PER_MS,
            "sights": [_sight_row(sight, sights[0].seen_at_ns) for sight in sights],
            "first_mover": f"{first[0]['exchange']}.{first[0]['market_type']}" if first[0] else None,
            "peak_percent": ((overall or {}).get("peak") or {}).get("change_percent"),
            "incomplete": [f"{row.exchange}.{row.market_type}" for row in manifest.venues if row.state == INCOMPLETE]
            if manifest and manifest.venues else None}


def _add_instruments(catalogue: Catalogue, archive: Path) -> None:
    """Add the instruments in an archive's manifest: the store does not know those without trades."""
    manifest = read_manifest(archive)
    for venue in manifest.venues if manifest else ():
        for row in venue.symbols:
            catalogue.add((venue.exchange, venue.market_type), Instrument(**msgspec.structs.asdict(row)))


def _intervals(config: Config, listings: Sequence[Listing], archive: Path, now_ns: int) -> list[tuple[int, int]]:
    """Return the intervals of the window, of every longer one that has ended, and of the existing archive."""
    recover(archive)
    manifest = read_manifest(archive)
    first, *longer = [intervals_of(listings, reach) for reach in reaches_of(config.listing)]
    ended = [interval for intervals in longer if intervals[-1][1] <= now_ns for interval in intervals]
    return joined((*first, *ended, *(manifest.window if manifest else ())))


def _is_late(config: Config, listing: Listing) -> bool:
    return listing.detected_at_ns - listing.announced_at_ns > config.listing.fresh_s * NS_PER_S


def _ledger(config: Config, *, read_only: bool = False) -> Ledger:
    folder = Path(config.store.dir)
    if not folder.is_dir():
        raise PumpWatchError(f"{folder}: no such data folder", "give the collector's config with -c, or set store.dir")
    is_missing(folder)  # raises if the ledger was lost, so that no empty one replaces it
    return Ledger(folder, read_only=read_only)


def _listings_near(config: Config, ledger: Ledger, coin: str, at_ns: int) -> tuple[list[Listing], str]:
    """Return the listings of the board that announced the coin nearest to this time, and the name of their archive.

    Drills are returned only if there is no real listing near that time.
    """
    near = [record for record in ledger.listings() if record.listing.symbol == coin
            and abs(record.listing.announced_at_ns - at_ns) <= NEAR_S * NS_PER_S]
    if not near:
        return [], ""
    own = [record for record in near if not record.listing.drill] or near
    board = min(own, key=lambda record: abs(record.listing.announced_at_ns - at_ns)).listing.board
    own = [record for record in own if record.listing.board == board]
    listings = [record.listing for record in own]
    written = next((Path(record.archive).name for record in own if record.archive), "")
    taken = {Path(record.archive).name for record in near if record.archive and record.listing.board != board}
    first_ns = min(listing.announced_at_ns for listing in listings)
    return listings, written or free_name(Path(config.listing.archive_dir), coin, first_ns, board, taken, listings[0].drill)


def _unknown_listing(coin: str, at_ns: int, now_ns: int) -> Listing:
    return Listing(source="replay", notice_id=iso(at_ns), symbol=coin, title=f"{coin}: replayed from the store",
                   announced_at_ns=at_ns, detected_at_ns=at_ns, triggered_at_ns=now_ns)
