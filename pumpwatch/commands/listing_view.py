"""Listings as text: a table of all, and the markets of one listing in the order in which they moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_MS
from pumpwatch.commands.cells import count, lasted, time_cell, venue_cell
from pumpwatch.commands.table import Cell, Column, render, wrapped

Listed = Mapping[str, Any]  # a row of listing.replay.show

LISTINGS = (
    Column("coin"), Column("announced", "announced, UTC"), Column("listing"), Column("seen after", "seen", right=True, rank=4),
    Column("first mover"), Column("peak", right=True), Column("complete", rank=1), Column("state"),
    Column("trades", right=True, rank=2), Column("final", rank=3), Column("sights", right=True, rank=7),
    Column("late", rank=6), Column("archive", rank=5),
)
MARKETS = (
    Column("moved after", "moved", right=True), Column("behind", right=True, rank=1), Column("venue"), Column("symbol"),
    Column("change", right=True), Column("reason", rank=3), Column("peak", right=True), Column("peak after", "after", right=True),
    Column("trades", right=True), Column("value after", right=True, rank=2),
)


def listing_rows(listings: Sequence[Listed]) -> list[list[str | Cell] | str]:
    """Return a row of LISTINGS for each listing, with its problem, if any, as a remark."""
    rows: list[list[str | Cell] | str] = []
    for listing in listings:
        final = Cell(str(listing["final_at"]), "yes") if listing["final"] else "-" if listing["final"] is None else "not yet"
        rows.append([listing["coin"], _announced(listing["announced_at"]), listing["id"], _seconds(listing["delay_ms"]),
                     listing["first_mover"] or "-", _percent(listing["peak_percent"]) or "-", _complete(listing["incomplete"]),
                     _marked(listing["state"], listing), f"{listing['trades']:,}", final, str(max(1, len(listing["sights"]))),
                     "yes" if listing["late"] else "no", Path(listing["archive"]).name])
        if listing["problem"]:
            rows.append(listing["problem"])
    return rows


def _complete(incomplete: Sequence[str] | None) -> str | Cell:
    """Return `yes`, or the venues of which trades may be missing; `-` if that is unknown."""
    if incomplete is None:
        return "-"
    return Cell(f"not {', '.join(incomplete)}", f"not {count(len(incomplete), 'venue')}") if incomplete else "yes"


def _marked(text: str, listing: Listed) -> str:
    return f"{text}, drill" if listing["drill"] else text


def _announced(iso: str) -> Cell:
    """Return a time such as 2026-11-21T10:00:00Z as a cell."""
    return Cell(iso, iso[5:19].replace("T", " "))


def listing_lines(listing: Listed, width: int) -> list[str]:
    """Return a listing as lines of at most `width` columns: its notice, the first mover, each market."""
    lines = [*wrapped(f"{_marked(listing['coin'], listing)}, listing {listing['id']}, announced {listing['announced_at']}, "
                      f"detected {listing['detected_at']}{' (late)' if listing['late'] else ''}", width)]
    if listing["title"]:
        lines += wrapped(listing["title"], width)
    for sight in listing["sights"]:
        lines += wrapped(sight_text(sight, listing), width)
    lines += _state(listing, width)
    if listing["analysis"] is not None:
        lines += ["", *analysis_lines(listing["analysis"], width)]
    return lines


def sight_text(sight: Mapping[str, Any], listing: Listed) -> str:
    """Describe a sight of a listing: its source, and its delay after the publication or the earliest sight."""
    text = f"{'its market seen open' if sight['kind'] == 'market_opened' else 'its notice seen'} by {sight['source']}"
    if sight.get("member"):
        text += f" on {sight['member']}"
    if sight["behind_ms"]:
        text += f" {lasted(round(sight['behind_ms'] * NS_PER_MS))} behind the first"
    elif listing["kind"] == "notice":
        text += f" {_after(listing['delay_ms'])} its publication"
    if sight["edits"]:
        text += f"; edited {count(sight['edits'], 'time')}, last seen as: {sight['title']}"
    return text


def _state(listing: Listed, width: int) -> list[str]:
    if listing["problem"]:
        return wrapped(f"problem: {listing['problem']}", width)
    if listing["state"] != "written":
        return wrapped({"open": "the window is open: its archive is written when it ends",
                        "missing": f"the archive was removed: {listing['archive']}"}.get(listing["state"], ""), width)
    final = f"final at {listing['final_at']}" if listing["final"] else (
        "not final: a running collector adds late trades until its last look, ten minutes after the longest window")
    return [*wrapped(f"{count(listing['trades'], 'trade')}, {final}", width), *member_lines(listing, width),
            *wrapped(f"archive {listing['archive']}", width)]


def member_lines(listing: Listed, width: int) -> list[str]:
    """Return the members whose parts an archive of a cluster has, and those whose parts are missing; empty without a cluster."""
    members = listing.get("members") or []
    if alone := next((row for row in members if row["state"] == "alone"), None):
        return wrapped(f"part of {alone['member']} alone: {alone['reason']}", width)
    joined = [f"{row['member']} ({row['trades']:,})" for row in members if row["state"] == "merged"]
    lines = wrapped(f"joined by {listing['made_by']} from the parts of {', '.join(joined)}", width) if joined else []
    for row in members:
        if row["state"] == "missing":
            lines += wrapped(f"part of {row['member']} is missing: {row['reason']}", width)
    return lines


def analysis_lines(analysis: Mapping[str, Any], width: int) -> list[str]:
    """Return an analysis (listing.analysis) as lines: the first mover, the peak, then a table of the markets."""
    rows = analysis["instruments"]
    moved = [row for row in rows if row["first_abnormal"]]
    lines = []
    if moved:
        first = moved[0]["first_abnormal"]
        lines += wrapped(f"first to move: {_name(moved[0])}, {_percent(first['change_percent'])} at "
                         f"{_clock(first['at_ns'])} UTC, {_after(first['after_announcement_ms'])} the announcement", width)
    else:
        lines += ["no market moved: no trade was abnormal"]
    peak = analysis["overall"]["peak"]
    if peak:
        lines += wrapped(f"highest peak:  {_name(peak)}, {_percent(peak['change_percent'])} at {_clock(peak['at_ns'])} UTC, "
                         f"{_after(peak['after_announcement_ms'])} the announcement", width)
    return [*lines, "", *render(MARKETS, _market_rows(rows, moved), width)]


def _market_rows(rows: Sequence[Mapping[str, Any]], moved: Sequence[Mapping[str, Any]]) -> list[list[str | Cell]]:
    start_ns = moved[0]["first_abnormal"]["at_ns"] if moved else 0
    cells: list[list[str | Cell]] = []
    for row in rows:
        first, peak = row["first_abnormal"], row["peak"]
        cells.append([
            _seconds(first["after_announcement_ms"]) if first else "-",
            _seconds((first["at_ns"] - start_ns) / NS_PER_MS) if first else "", venue_cell(row["exchange"], row["market_type"]),
            row["symbol"], _percent(first["change_percent"]) if first else "", ", ".join(first["reasons"]) if first else "",
            _percent(peak["change_percent"]) if peak else "", _seconds(peak["after_announcement_ms"]) if peak else "",
            f"{row['trades']:,}", f"{row['after']['value']:,.0f}"])
    return cells


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['exchange']}.{row['market_type']} {row['symbol']}"


def _clock(ns: int) -> str:
    return time_cell(ns, with_day=False).short


def _percent(change: float | None) -> str:
    return "" if change is None else f"{change:+,.2f} %"


def _seconds(ms: float) -> str:
    return f"{ms / 1e3:+.3f} s"


def _after(ms: float) -> str:
    return f"{lasted(round(abs(ms) * NS_PER_MS))} {'after' if ms >= 0 else 'before'}"
