"""Events for channels: data for programs, a headline and a short text for people. This module makes those about listings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import read_analysis
from pumpwatch.listing.manifest import iso
from pumpwatch.model import Listing
from pumpwatch.notify.alert_events import AlertEvent, alert_headline, alert_text
from pumpwatch.printable import printable

FORMAT = "pumpwatch.event/1"
# characters that start a mention or a link in chat services, as `](` does: a notice's title is third-party text
_HARMLESS = str.maketrans({"@": "＠", "<": "‹", ">": "›"})


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A market's first abnormal trade, or its peak. after_ms: since the publication, by the venue's clock."""

    exchange: str
    market_type: str
    symbol: str
    after_ms: float
    change_percent: float


class ListingUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """An event about a listing: it was seen, its archive was written, or this is a test. Webhooks and commands get it as JSON.

    id: the same for an event that is delivered twice, otherwise unique. delay_ms: from publication to detection. The fields from
    `archive` on are set for `archived` only; first and peak are None if no market moved.
    """

    format: str = FORMAT
    id: str
    kind: Literal["seen", "archived", "test"]
    drill: bool
    coin: str
    source: str
    notice_id: str
    title: str
    published_at: str
    published_at_ns: int
    detected_at_ns: int
    delay_ms: float
    late: bool = False
    archive: str = ""
    trades: int = 0
    first: Move | None = None
    peak: Move | None = None
    problems: tuple[str, ...] = ()


AnyEvent = ListingUpdate | AlertEvent


class _Kind(msgspec.Struct):
    kind: str


def decode(content: str) -> AnyEvent:
    """Return the event in a JSON text. Raises msgspec.DecodeError if another version wrote it."""
    if msgspec.json.decode(content, type=_Kind).kind == "alert":
        return msgspec.json.decode(content, type=AlertEvent)
    return msgspec.json.decode(content, type=ListingUpdate)


def seen(listing: Listing, fresh_s: float) -> ListingUpdate:
    """Return the event of a listing whose window has been opened. fresh_s: `listing.fresh_s`."""
    return _event("seen", listing, fresh_s)


def archived(listing: Listing, fresh_s: float, archive: Path, trades: int, problems: Sequence[str]) -> ListingUpdate:
    """Return the event of a listing whose archive was written. Blocks: it reads the archive's analysis."""
    try:
        analysis = read_analysis(archive)
        moved = next((row for row in analysis["instruments"] if row["first_abnormal"]), None)
        first = _move(moved, moved["first_abnormal"]) if moved else None
        top = analysis["overall"]["peak"]
        peak = _move(top, top) if top else None
    except (StorageError, KeyError, TypeError) as error:
        first = peak = None
        problems = (*problems, f"its analysis cannot be read: {error}")
    return msgspec.structs.replace(
        _event("archived", listing, fresh_s), archive=printable(str(archive), 4096), trades=trades, first=first, peak=peak,
        problems=tuple(printable(problem) for problem in problems))


def example(now_ns: int) -> ListingUpdate:
    """Return the event of `pumpwatch notify test`."""
    listing = Listing(source="test", notice_id=f"test-{now_ns}", symbol="TEST", title="a test of this channel",
                      announced_at_ns=now_ns, detected_at_ns=now_ns, triggered_at_ns=now_ns, drill=True)
    return _event("test", listing, 1.0)


def _event(kind: Literal["seen", "archived", "test"], listing: Listing, fresh_s: float) -> ListingUpdate:
    delay_ns = listing.detected_at_ns - listing.announced_at_ns
    return ListingUpdate(
        id=f"{kind}:{listing.source}:{listing.notice_id}:{listing.symbol}", kind=kind, drill=listing.drill, coin=listing.symbol,
        source=listing.source, notice_id=listing.notice_id, title=printable(listing.title, 2000),
        published_at=iso(listing.announced_at_ns), published_at_ns=listing.announced_at_ns,
        detected_at_ns=listing.detected_at_ns, delay_ms=round(delay_ns / NS_PER_MS, 3), late=delay_ns > fresh_s * NS_PER_S)


def _move(market: Mapping[str, Any], moment: Mapping[str, Any]) -> Move:
    return Move(exchange=market["exchange"], market_type=market["market_type"], symbol=market["symbol"],
                after_ms=moment["after_announcement_ms"], change_percent=moment["change_percent"])


def headline(event: AnyEvent) -> str:
    """Return one line, such as `KITE gets a KRW market (upbit)`."""
    if isinstance(event, AlertEvent):
        return alert_headline(event)
    mark = "DRILL: " if event.drill else ""
    if event.kind == "test":
        return f"{mark}PumpWatch reaches this channel"
    if event.kind == "seen":
        return f"{mark}{event.coin} gets a KRW market ({_harmless(event.source)})"
    moved = f"{event.peak.change_percent:+,.1f} % at the peak" if event.peak else "archived"
    return f"{mark}{event.coin} ({_harmless(event.source)}): {moved}"


def text(event: AnyEvent) -> str:
    """Return a few short lines."""
    if isinstance(event, AlertEvent):
        return alert_text(event)
    if event.kind == "test":
        return f"Sent by `pumpwatch notify test` at {event.published_at}."
    lines = [f"published {event.published_at[:19].replace('T', ' ')} UTC, seen {_seconds(event.delay_ms)} later"
             + (" (late)" if event.late else "")]
    if event.kind == "seen":
        return "\n".join([_harmless(printable(event.title)), *lines])
    if event.first:
        lines.append(f"first mover: {_market(event.first)}")
    if event.peak:
        lines.append(f"peak: {_market(event.peak)}")
    if not event.first:
        lines.append("no market moved")
    lines.append(f"{event.trades:,} trades in {event.archive}")
    return "\n".join([*lines, *(f"problem: {_harmless(problem)}" for problem in event.problems[:3])])


def _market(move: Move) -> str:
    return (f"{move.exchange} {move.market_type} {move.symbol}, {move.change_percent:+,.1f} %"
            f" {_seconds(abs(move.after_ms))} {'after' if move.after_ms >= 0 else 'before'} publication")


def _seconds(ms: float) -> str:
    return f"{ms:,.0f} ms" if abs(ms) < 1000 else f"{ms / 1000:,.1f} s"


def _harmless(given: str) -> str:
    return given.translate(_HARMLESS).replace("](", "] (")
