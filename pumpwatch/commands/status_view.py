"""The figures of a running collector as text: venues, journal, sinks, notice boards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.commands.cells import count, size, venue_cell
from pumpwatch.commands.table import Cell, Column, fit, render
from pumpwatch.ops.health import gaps_in_words

Status = Mapping[str, Any]

VENUES = (
    Column("venue"), Column("connections", "up", right=True), Column("subscribed", "symbols", right=True),
    Column("rejected", right=True, rank=2), Column("silent", right=True, rank=3), Column("trades", right=True),
    Column("trades/s", "per s", right=True), Column("lag ms", right=True), Column("open gaps", "gaps", right=True),
    Column("quarantined", right=True, rank=1),
)
EXCEPTIONS = ("rejected", "silent", "quarantined")  # columns that become rows of text in a narrow terminal
PAIRS_SHOWN = 4  # of a venue
PAIRS_HEAD = ("two connections, numbered N and 1000 + N, read the same symbols; the share of sampled trades that each brought "
              "first, and its average lead")
PROBLEMS = {"list_problem": "list of ", "problem": "", "redundancy_problem": ""}  # key -> what precedes the venue's name
PLACE = re.compile(r"^(connection \d+: )?(\S+:\d+: )?")  # the place of a problem, not a part of its reason
STORES = (Column(""), Column("", wraps=True))


def status_lines(status: Status, now_ns: int, width: int, color: bool = False) -> list[str]:
    """Return figures as lines of at most `width` characters. Their text must be printable already."""
    venues = status.get("venues", ())
    rows = [_venue_row(venue) for venue in venues]
    layout = fit(VENUES, rows, width)
    left_out = [index for index, column in enumerate(VENUES) if column.heading in EXCEPTIONS
                and not layout.shows(column.heading)]
    stores = [*_alerts(status, now_ns), *_exceptions(venues, rows, left_out), *_problems(venues), *_renewals(venues),
              *_pairs(venues), *_stores(status)]
    return [_title(status, now_ns), "", *layout.heading(), *layout.lines(rows, color), "",
            *render(STORES, stores, width, color)]


def _venue_row(venue: Status) -> list[str | Cell]:
    return [
        venue_cell(str(venue.get("exchange")), str(venue.get("market_type"))),
        f"{venue.get('connections_up', 0)}/{venue.get('connections', 0)}",
        f"{venue.get('subscribed', 0)}/{venue.get('instruments', 0)}",
        f"{len(venue.get('refused', ())):,}", f"{len(venue.get('silent', ())):,}",
        f"{int(venue.get('trades_total', 0)):,}", f"{venue.get('trades_per_s', 0):,.0f}", f"{venue.get('lag_ms', 0):,.0f}",
        f"{venue.get('gaps_open', 0):,}", f"{int(venue.get('quarantined_total', 0)):,}"]


def _exceptions(venues: Sequence[Status], rows: Sequence[Sequence[str | Cell]], columns: Sequence[int]) -> list[list[str]]:
    """Return a row for each of these columns with a figure other than 0."""
    found = []
    for index in columns:
        parts = [f"{_name(venue)} {row[index]}" for venue, row in zip(venues, rows, strict=True) if row[index] != "0"]
        found += [[VENUES[index].heading, ", ".join(parts)]] if parts else []
    return found


def _problems(venues: Sequence[Status]) -> list[list[str]]:
    """Return a row for each problem, with all venues that have it."""
    rows = []
    for key, what in PROBLEMS.items():
        found: dict[str, list[Status]] = {}
        for venue in venues:
            if venue.get(key):
                found.setdefault(PLACE.sub("", str(venue[key])), []).append(venue)
        for text, hit in found.items():
            if len(hit) == 1:
                rows.append([f"{what}{_name(hit[0])}", str(hit[0][key])])
            else:
                named = f"all {len(venues)} venues" if len(hit) == len(venues) else ", ".join(map(_name, hit))
                rows.append([f"{what}{len(hit)} venues", f"{text} ({named})"])
    return rows


def _alerts(status: Status, now_ns: int) -> list[list[str]]:
    """Return a row for each active alert: its name, its age and its page of the runbook."""
    rows = []
    for alert in status.get("active_alerts", ()):
        since_s = max(0, now_ns - int(alert.get("since_ns", now_ns))) // NS_PER_S
        text = f"{alert.get('description')} {alert.get('name')} since {_ago(since_s)}, see {alert.get('runbook')}"
        rows.append([str(alert.get("severity", "")).upper(), text])
    return rows


def _ago(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _renewals(venues: Sequence[Status]) -> list[list[str]]:
    left = [f"{_name(venue)} {count(int(venue['renewing']), 'connection')}" for venue in venues if venue.get("renewing")]
    return [["still to renew", ", ".join(left)]] if left else []


def _pairs(venues: Sequence[Status]) -> list[list[str]]:
    """Return a row for each venue with double connections: which connection of each pair is first, and by how much."""
    rows: list[list[str]] = []
    for venue in venues:
        pairs = venue.get("pairs") or ()
        texts = [_race(pair) for pair in pairs[:PAIRS_SHOWN]]
        texts += [f"{len(pairs) - PAIRS_SHOWN} more (--json)"] if len(pairs) > PAIRS_SHOWN else []
        rows += [[_name(venue), "; ".join(texts)]] if texts else []
    return [["read twice", PAIRS_HEAD], *rows] if rows else []


def _race(pair: Status) -> str:
    """Return which connection of a pair brings trades first: `0 first for 70% (by 1.2 ms), 1000 for 30% (by 0.4 ms)`."""
    (won, lost), (lead_ms, other_ms) = pair.get("first", (0, 0)), pair.get("lead_ms", (0.0, 0.0))
    numbers = pair.get("connection"), pair.get("double")
    down = "".join(f", {number} is down" for number, up in zip(numbers, pair.get("up", ()), strict=False) if not up)
    if not won + lost:
        return f"{numbers[0]} and {numbers[1]}: no trade compared yet{down}"
    share = won / (won + lost)
    first, second = (f"{part:.0%}" + (f" (by {ms:.1f} ms)" if part else "")
                     for part, ms in ((share, lead_ms), (1 - share, other_ms)))
    return f"{numbers[0]} first for {first}, {numbers[1]} for {second}{down}"


def _stores(status: Status) -> list[list[str]]:
    journal, recent = status.get("journal", {}), status.get("recent", {})
    waiting, commits = int(journal.get("backlog_trades", 0)), int(journal.get("commits", 0))
    rows = [["journal", f"{size(journal.get('bytes', 0))}, {waiting:,} trades not yet durable, {commits:,} commits"],
            ["memory", f"{int(recent.get('trades', 0)):,} recent trades, {size(recent.get('bytes', 0))}"]]
    rows += [["process", f"{size(memory['rss_bytes'])} of {size(memory['limit_bytes'])}"
              + ("" if memory.get("level") == "ok" else f", {memory.get('level')}")]
             for memory in (status.get("memory"),) if memory and memory.get("rss_bytes")]
    rows += [[f"disk {disk.get('name')}", _disk(disk)] for disk in (status.get("disk") or {}).get("disks", ())
             if disk.get("used_share") is not None]
    if status.get("backfill"):
        rows.append(["gaps", _gaps(status["backfill"])])
    rows += [[f"sink {sink.get('name')}", f"{sink.get('state')}, {int(sink.get('backlog_trades', 0)):,} trades behind"]
             for sink in status.get("sinks", ())]
    redis = status.get("redis") or {}
    if redis.get("trouble"):
        rows.append(["redis", f"unavailable, local state is used instead: {redis['trouble']}"])
    elif redis:
        kind = f"a cluster of {len(redis.get('masters', ()))} masters" if redis.get("cluster") else "a single server"
        rows.append(["redis", f"up, {kind}, version {redis.get('version')}"])
    market = status.get("market") or {}
    if market.get("problem"):
        rows.append(["candles", f"not made: {market['problem']}"])
    rows += [["candles", f"{job}: {why}"] for job, why in (market.get("problems") or {}).items()]
    if status.get("rollout"):
        rolled = status["rollout"]
        rows.append([f"roll-out {rolled.get('sink')}", f"{rolled.get('status')}, {rolled.get('percent')} % of the instruments"])
    rows += [[f"notify {channel.get('name')}", _channel(channel)] for channel in status.get("notify", ())]
    return rows + [[f"listing {name}", _board(value)] for name, value in (status.get("listing") or {}).items()]


def _disk(disk: Status) -> str:
    """Return how full a disk is, how long it lasts, and its level where it has one."""
    days, level = disk.get("days_left"), str(disk.get("level", "ok"))
    return (f"{disk['used_share']:.0%} used, {size(disk.get('free_bytes', 0))} free"
            + ("" if days is None else f", full in {days:.1f} days") + ("" if level == "ok" else f", {level.replace('_', ' ')}"))


def _gaps(backfill: Status) -> str:
    """Return the number of gaps by state, and the progress of the backfill."""
    text = gaps_in_words(backfill).removeprefix("gaps ")
    if not backfill.get("enabled"):
        return f"{text}; not filled: backfill.enabled is false"
    trades, requests = int(backfill.get("trades", 0)), int(backfill.get("requests", 0))
    return f"{text}; {trades:,} trades fetched with {requests:,} requests" if requests else text


def _channel(channel: Status) -> str:
    """Return the counts of a channel, and its problem if it is down."""
    counts = ", ".join(f"{int(channel.get(key, 0)):,} {key.replace('_', ' ')}"
                       for key in ("sent", "failed", "waiting", "given_up") if key != "given_up" or channel.get(key))
    return counts if channel.get("up", True) else f"{counts}; {channel.get('reason')}"


def _board(value: Any) -> str:
    """Return the state of a notice board, or other figures of listings, as text."""
    if not isinstance(value, Mapping):
        return str(value)
    if "up" in value:
        if value["up"] is None:
            return "not asked yet"
        return "up" if value["up"] else f"down, {value.get('reason') or 'no answer'}"
    return ", ".join(f"{figure} {key.replace('_', ' ')}" for key, figure in value.items())


def _title(status: Status, now_ns: int) -> str:
    up_s = int(status.get("up_s", max(0, (now_ns - int(status.get("started_at_ns", now_ns))) // NS_PER_S)))
    hours, rest = divmod(up_s, 3600)
    return f"PumpWatch {status.get('version', '')}, pid {status.get('pid')}, up {hours}:{rest // 60:02}:{rest % 60:02}"


def _name(venue: Status) -> str:
    return f"{venue.get('exchange')}.{venue.get('market_type')}"
