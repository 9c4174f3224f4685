"""The results of backfills, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.commands.cells import count, day, time_cell
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill
from pumpwatch.store.pending_records import GapKey, gap_key

REASONS = 2  # reasons for losses that a text lists
Fills = Mapping[GapKey, Sequence[GapFill]]


def by_gap(fills: Iterable[GapFill]) -> dict[GapKey, list[GapFill]]:
    """Return fills grouped by the key of their gap."""
    found: dict[GapKey, list[GapFill]] = {}
    for fill in fills:
        found.setdefault(gap_key(fill.gap), []).append(fill)
    return found


def fills_of(gaps: Iterable[Gap], fills: Fills) -> list[GapFill]:
    """Return the fills of these gaps."""
    return [fill for gap in gaps for fill in fills.get(gap_key(gap), ())]


def fills_text(fills: Sequence[GapFill], *, with_day: bool = False, unfinished: bool = False) -> str:
    """Return what was found and what stays missing, as one line; empty without fills.

    Examples: `filled 1,204 of 1,204 by id`, `found 894; lost 310 trades from 14:03:22 to 14:04:01: history reaches 1,000 trades
    back`. Times are UTC, in whole seconds; with_day adds their day. unfinished: a gap is still open, so more may be found.
    """
    if not fills:
        return ""
    found = sum(fill.found for fill in fills)
    lost: dict[str, list[GapFill]] = {}
    for fill in fills:
        if fill.state is GapState.LOST:
            lost.setdefault(fill.reason, []).append(fill)
    left = sum(fill.state is GapState.OPEN for fill in fills)
    if lost:
        parts = [f"found {found:,}"] if found else []
        ranked = sorted(lost.items(), key=lambda part: -len(part[1]))
        parts += [_loss(part, reason, with_day) for reason, part in ranked[:REASONS]]
        parts += [f"other losses for {count(len(ranked) - REASONS, 'other reason')} (--json)"] if len(ranked) > REASONS else []
        return "; ".join([*parts, *([f"{count(left, 'symbol')} still to do"] if left else [])])
    ways = Counter(fill.by for fill in fills)
    by = " and ".join(way for way, _ in ways.most_common())
    if left or unfinished:
        return f"found {found:,} so far"
    return f"filled {found:,} of {found:,} by {by}" if found else f"nothing was missing, by {by}"


def _loss(lost: Sequence[GapFill], reason: str, with_day: bool) -> str:
    """Return how much is lost for one reason, and when."""
    known, unknown = sum(max(0, fill.missing) for fill in lost), sum(fill.missing < 0 for fill in lost)
    what = [count(known, "trade")] if known else []
    what += [f"an unknown number of trades of {count(unknown, 'symbol')}"] if unknown else []
    spans = [(fill.lost_from_ns, fill.lost_to_ns) if fill.lost_to_ns > fill.lost_from_ns else (fill.gap.from_ns, fill.gap.to_ns)
             for fill in lost]
    first_ns, end_ns = min(span[0] for span in spans), max(span[1] for span in spans)
    with_day = with_day or day(first_ns) != day(end_ns)
    first, end = (time_cell(ns, with_day=with_day, digits=0).short for ns in (first_ns, -(-end_ns // NS_PER_S) * NS_PER_S))
    return f"lost {' and '.join(what) or 'nothing'} from {first} to {end}: {reason}"


def as_json(fills: Sequence[GapFill]) -> dict[str, Any] | None:
    """Return the result with stable keys; None without fills. missing: -1 if the number is unknown."""
    if not fills:
        return None
    lost = [fill for fill in fills if fill.state is GapState.LOST]
    unknown = any(fill.missing < 0 for fill in lost)
    return {"found": sum(fill.found for fill in fills),
            "missing": -1 if unknown else sum(fill.missing for fill in lost),
            "by": sorted({fill.by for fill in fills}), "reasons": sorted({fill.reason for fill in fills if fill.reason}),
            "lost_from_ns": min((fill.lost_from_ns for fill in lost), default=0),
            "lost_to_ns": max((fill.lost_to_ns for fill in lost), default=0),
            "symbols_done": sum(fill.state is not GapState.OPEN for fill in fills), "symbols_lost": len(lost)}
