"""A listing with an archive of two files, as the collector leaves it."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.model import Listing
from pumpwatch.store.ledger import Ledger
from tests.trades import batch_of, catalogue_of

ANNOUNCED_NS = 1_795_000_000 * NS_PER_S


def archived(folder: Path, coin: str) -> Path:
    """Remember a listing of a coin, and write its archive into the folder; return the archive's path."""
    listing = Listing(source="upbit", notice_id=f"{coin}-1", symbol=coin, title=f"{coin}: a listing",
                      announced_at_ns=ANNOUNCED_NS, detected_at_ns=ANNOUNCED_NS + NS_PER_S,
                      triggered_at_ns=ANNOUNCED_NS + NS_PER_S)
    interval = (ANNOUNCED_NS - 20 * NS_PER_S, ANNOUNCED_NS + 20 * NS_PER_S)
    batch = batch_of(100, start_ns=ANNOUNCED_NS, step_ns=NS_PER_S // 10, instruments=2)
    archive = write_archive(folder, Span(coin, [listing], [interval], False), batch, catalogue_of(), [], [],
                            Pass(ANNOUNCED_NS + 60 * NS_PER_S, True, []))
    ledger = Ledger(folder)
    ledger.remember_listing(listing)
    ledger.finish_listing(listing.source, listing.notice_id, coin, str(archive.path), archive.trades)
    ledger.close()
    return archive.path
