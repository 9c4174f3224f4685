"""Make an archive again from the store, and show listings with their archives: `listing replay` and `listing show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.listing.archive import Pass, Span, part_row, read_analysis, trades_in, write_archive
from pumpwatch.listing.inbox import coin_name
from pumpwatch.listing.manifest import iso, read_manifest
from pumpwatch.listing.open_window import LOOKS_S, intervals_of
from pumpwatch.listing.validation import time_problem
from pumpwatch.model import Listing
from pumpwatch.store.ledger import Ledger, is_missing

NEAR_S = 60.0  # a remembered listing of the coin within this of the given time is replayed with its own times


def replay(config: Config, coin: str, at_ns: int, *, clock: Clock | None = None) -> dict[str, Any]:
    """Write the archive of a coin's window around a time from the stored trades, with or without a running collector.

    A listing that is remembered near that time has its own times used; otherwise the time is taken as announcement and
    detection. Returns archive (path), coin, trades, kept (an older archive with more trades was left in place), window,
    listings, parts and venues. Raises UsageError for an invalid coin or time, PumpWatchError where nothing is stored of the
    coin, StorageError and ServiceUnavailable as the store does.
    """
    from pumpwatch.plugins import load_plugins
    from pumpwatch.store.stored import StoredTrades

    coin = coin_name(coin)
    now_ns = (clock or Clock()).now_ns()
    if problem := time_problem(at_ns, now_ns):
        raise UsageError(f"the time {iso(at_ns)} {problem}",
                         "give the time at which the coin was announced, as in 2026-11-21T10:00:00Z")
    ledger = _ledger(config)
    try:
        listings = _listings_near(ledger, coin, at_ns)
        known = bool(listings)
        if not known:
            listings = [_unknown_listing(coin, at_ns, now_ns)]
        intervals = intervals_of(listings, config.listing.window_s)
        start_ns, end_ns = intervals[0][0], intervals[-1][1]
        stored = StoredTrades(config, load_plugins(config))
        found, catalogue = stored.of(coin, start_ns, end_ns), stored.catalogue
        if not known and not catalogue.matching(coin):
            raise PumpWatchError(f"nothing is stored of {coin} around {iso(at_ns)}",
                                 "check the coin and the time: `pumpwatch listing show` lists what is known")
        gaps = ledger.gaps_between(start_ns, end_ns)
        final = now_ns >= end_ns + int(LOOKS_S[-1] * NS_PER_S)
        problems = sorted({part.problem for part in found.parts if part.problem})
        late = known and all(_is_late(config, listing) for listing in listings)
        archive = write_archive(Path(config.listing.archive_dir), Span(coin, listings, intervals, late), found.batch,
                                catalogue, found.parts, gaps, Pass(now_ns, final, problems))
        for listing in listings:
            ledger.finish_listing(listing.source, listing.notice_id, listing.symbol, str(archive.path), archive.trades)
    finally:
        ledger.close()
    return {"archive": str(archive.path), "coin": coin, "trades": archive.trades, "kept": archive.kept,
            "window": [[iso(start), iso(end)] for start, end in intervals],
            "listings": [f"{listing.source}:{listing.notice_id}" for listing in listings],
            "parts": [part_row(part) for part in found.parts],
            "venues": sorted({".".join(catalogue.venues[number]) for number in catalogue.matching(coin)})}


def show(config: Config, wanted: str | None = None) -> list[dict[str, Any]]:
    """Return the listings and archives of a data folder, oldest first; with `wanted` only the matching ones, with analysis.

    `wanted` is a coin, a notice id (`upbit:6642` or `6642`), or an archive's name. Each row has id, source, notice_id, coin,
    title, announced_at, detected_at, late, drill, needs_body, trades, archive, state, problem, and the archive's final, final_at
    and passes. state is `open`, `written`, `missing` (the archive was removed) or `problem` (`problem` has the reason).
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    archives: set[str] = set()
    if not is_missing(Path(config.store.dir)):
        ledger = _ledger(config, read_only=True)
        try:
            for record in ledger.listings():
                rows[record.listing.source + record.listing.notice_id, record.listing.symbol] = _row(
                    config, record.listing, record.archive, record.trades, record.problem)
                archives.add(Path(record.archive).name)
        finally:
            ledger.close()
    for path in sorted(Path(config.listing.archive_dir).glob("[A-Z0-9]*_*Z")):
        if path.name not in archives and trades_in(path) is not None:
            for made in read_analysis(path)["listings"]:
                rows.setdefault((made["source"] + made["notice_id"], made["symbol"]),
                                _row(config, Listing(**made), str(path), trades_in(path)))
    found = sorted(rows.values(), key=lambda row: (row["announced_at"], row["coin"]))
    if wanted is None:
        return found
    names = {wanted, wanted.upper(), Path(wanted).name}
    found = [row for row in found if names & {row["id"], row["notice_id"], row["coin"], Path(row["archive"]).name}]
    return [row | {"analysis": read_analysis(Path(row["archive"])) if row["state"] == "written" else None}
            for row in found]


def _row(config: Config, listing: Listing, archive: str, trades: int | None, problem: str = "") -> dict[str, Any]:
    state = "open"
    if trades is not None:
        state = "written" if archive and trades_in(Path(archive)) is not None else "missing"
    manifest = read_manifest(Path(archive)) if archive else None
    passes = [msgspec.structs.asdict(row) for row in manifest.passes] if manifest else []
    return {"id": f"{listing.source}:{listing.notice_id}", "source": listing.source, "notice_id": listing.notice_id,
            "coin": listing.symbol, "title": listing.title, "announced_at": iso(listing.announced_at_ns),
            "detected_at": iso(listing.detected_at_ns), "late": _is_late(config, listing), "drill": listing.drill,
            "needs_body": listing.needs_body, "state": "problem" if problem else state, "problem": problem,
            "trades": trades or 0, "archive": archive, "final": manifest.final if manifest else None,
            "final_at": manifest.final_at if manifest else None, "passes": passes}


def _is_late(config: Config, listing: Listing) -> bool:
    return listing.detected_at_ns - listing.announced_at_ns > config.listing.fresh_s * NS_PER_S


def _ledger(config: Config, *, read_only: bool = False) -> Ledger:
    folder = Path(config.store.dir)
    if not folder.is_dir():
        raise PumpWatchError(f"{folder}: no such data folder", "give the collector's config with -c, or set store.dir")
    is_missing(folder)  # raises where it was lost, so that no empty one replaces it
    return Ledger(folder, read_only=read_only)


def _listings_near(ledger: Ledger, coin: str, at_ns: int) -> list[Listing]:
    """Return the listings of a coin near a time; drills only where nothing else is known there."""
    near = [record.listing for record in ledger.listings() if record.listing.symbol == coin
            and abs(record.listing.announced_at_ns - at_ns) <= NEAR_S * NS_PER_S]
    return [listing for listing in near if not listing.drill] or near


def _unknown_listing(coin: str, at_ns: int, now_ns: int) -> Listing:
    return Listing(source="replay", notice_id=iso(at_ns), symbol=coin, title=f"{coin}: replayed from the store",
                   announced_at_ns=at_ns, detected_at_ns=at_ns, triggered_at_ns=now_ns)
