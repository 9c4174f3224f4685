"""Make an archive again from the store, and look at what there is: `pumpwatch listing replay` and `listing show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError
from pumpwatch.listing.archive import Span, iso, part_row, read_analysis, trades_in, write_archive
from pumpwatch.listing.inbox import coin_name
from pumpwatch.listing.memory import ListingMemory
from pumpwatch.listing.window import intervals_of
from pumpwatch.model import Listing
from pumpwatch.store.ledger import Ledger, is_missing

SAME_S = 60.0  # a remembered listing of the coin this near to the asked time is the one that is meant


def replay(config: Config, coin: str, at_ns: int, *, clock: Clock | None = None) -> dict[str, Any]:
    """Write the archive of a coin's window around a time from what is stored, with or without a running collector.

    A listing that is remembered near that time gives its own times; else the time stands for announcement and
    detection. Returns archive (path), coin, trades, kept (an older archive with more trades was left alone), window,
    listings, parts and venues. Raises PumpWatchError where nothing of the coin is known, StorageError and
    ServiceUnavailable as the store does.
    """
    from pumpwatch.store.query import trades_command

    coin = coin_name(coin)
    ledger = _ledger(config)
    try:
        listings = _listings_near(ledger, coin, at_ns)
        known = bool(listings)
        if not known:
            listings = [_made_up(coin, at_ns, (clock or Clock()).now_ns())]
        intervals = intervals_of(listings, config.listing.window_s)
        start_ns, end_ns = intervals[0][0], intervals[-1][1]
        batch, catalogue, parts = trades_command(config, coin, start_ns, end_ns, None, None)
        if not known and not catalogue.matching(coin):
            raise PumpWatchError(f"nothing is stored of {coin} around {iso(at_ns)}", "see `pumpwatch listing show`")
        gaps = ledger.gaps_between(start_ns, end_ns)
        archive = write_archive(Path(config.listing.archive_dir), Span(coin, listings, intervals), batch, catalogue,
                                parts, gaps)
        for one in listings:
            ledger.finish_listing(one.source, one.notice_id, one.symbol, str(archive.path), archive.trades)
    finally:
        ledger.close()
    return {"archive": str(archive.path), "coin": coin, "trades": archive.trades, "kept": archive.kept,
            "window": [[iso(start), iso(end)] for start, end in intervals],
            "listings": [f"{one.source}:{one.notice_id}" for one in listings],
            "parts": [part_row(part) for part in parts],
            "venues": sorted({".".join(catalogue.venues[number]) for number in catalogue.matching(coin)})}


def show(config: Config, wanted: str | None = None) -> list[dict[str, Any]]:
    """Return the listings and archives of a data folder, oldest first; with `wanted` only those, with their analysis.

    `wanted` is a coin, a notice id (`upbit:6642` or `6642`), or an archive's name. Each row has id, source, notice_id,
    coin, title, announced_at, detected_at, needs_body, state (`open`, `written`, `missing`), trades and archive.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    archives: set[str] = set()
    if not is_missing(Path(config.store.dir)):
        ledger = _ledger(config, read_only=True)
        try:
            for record in ledger.listings():
                rows[record.listing.source + record.listing.notice_id, record.listing.symbol] = _row(
                    record.listing, record.archive, record.trades)
                archives.add(Path(record.archive).name)
        finally:
            ledger.close()
    for path in sorted(Path(config.listing.archive_dir).glob("[A-Z0-9]*_*Z")):
        if path.name not in archives and trades_in(path) is not None:
            for made in read_analysis(path)["listings"]:
                rows.setdefault((made["source"] + made["notice_id"], made["symbol"]),
                                _row(Listing(**made), str(path), trades_in(path)))
    found = sorted(rows.values(), key=lambda row: (row["announced_at"], row["coin"]))
    if wanted is None:
        return found
    names = {wanted, wanted.upper(), Path(wanted).name}
    found = [row for row in found if names & {row["id"], row["notice_id"], row["coin"], Path(row["archive"]).name}]
    return [row | {"analysis": read_analysis(Path(row["archive"])) if row["state"] == "written" else None}
            for row in found]


def _row(listing: Listing, archive: str, trades: int | None) -> dict[str, Any]:
    state = "open" if trades is None else "written" if archive and trades_in(Path(archive)) is not None else "missing"
    return {"id": f"{listing.source}:{listing.notice_id}", "source": listing.source, "notice_id": listing.notice_id,
            "coin": listing.symbol, "title": listing.title, "announced_at": iso(listing.announced_at_ns),
            "detected_at": iso(listing.detected_at_ns), "needs_body": listing.needs_body, "state": state,
            "trades": trades or 0, "archive": archive}


def _ledger(config: Config, *, read_only: bool = False) -> Ledger:
    folder = Path(config.store.dir)
    if not folder.is_dir():
        raise PumpWatchError(f"{folder}: no such data folder", "give the collector's config with -c, or set store.dir")
    is_missing(folder)  # no empty one is made in place of one that was lost
    return Ledger(folder, read_only=read_only)


def _listings_near(memory: ListingMemory, coin: str, at_ns: int) -> list[Listing]:
    return [record.listing for record in memory.listings() if record.listing.symbol == coin
            and abs(record.listing.announced_at_ns - at_ns) <= SAME_S * NS_PER_S]


def _made_up(coin: str, at_ns: int, now_ns: int) -> Listing:
    return Listing(source="replay", notice_id=iso(at_ns), symbol=coin, title=f"{coin}: replayed from the store",
                   announced_at_ns=at_ns, detected_at_ns=at_ns, triggered_at_ns=now_ns)
