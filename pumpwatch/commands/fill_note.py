"""The result of looking for missing trades in the venues' histories, in words and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill
from pumpwatch.store.pending_records import GapKey, gap_key

Fills = Mapping[GapKey, Sequence[GapFill]]


def by_gap(fills: Iterable[GapFill]) -> dict[GapKey, list[GapFill]]:
    """Return fills by what identifies their gap."""
    found: dict[GapKey, list[GapFill]] = {}
    for fill in fills:
        found.setdefault(gap_key(fill.gap), []).append(fill)
    return found


def fills_of(gaps: Iterable[Gap], fills: Fills) -> list[GapFill]:
    """Return the fills of these gaps."""
    return [fill for gap in gaps for fill in fills.get(gap_key(gap), ())]


def note(fills: Sequence[GapFill]) -> str:
    """Return what was found and what stays missing, as one line; empty where nothing was looked for.

    Such as `filled 1,204 of 1,204 by id`, or `found 894, lost 310, history reaches 1,000 trades back`.
    """
    if not fills:
        return ""
    found = sum(fill.found for fill in fills)
    lost = [fill for fill in fills if fill.state is GapState.LOST]
    if lost:
        known, unknown = sum(max(0, fill.missing) for fill in lost), sum(fill.missing < 0 for fill in lost)
        parts = [f"found {found:,}"] if found else []
        parts += [f"lost {known:,}"] if known else []
        parts += [f"lost an unknown number of {unknown:,} symbol{'s' if unknown > 1 else ''}"] if unknown else []
        reasons = Counter(fill.reason for fill in lost)
        return ", ".join([*parts, reasons.most_common(1)[0][0] + (", and other reasons" if len(reasons) > 1 else "")])
    ways = Counter(fill.by for fill in fills)
    by = " and ".join(way for way, _ in ways.most_common())
    left = sum(fill.state is GapState.OPEN for fill in fills)
    if left:
        return f"found {found:,} so far"
    return f"filled {found:,} of {found:,} by {by}" if found else f"nothing was missing, by {by}"


def as_json(fills: Sequence[GapFill]) -> dict[str, Any] | None:
    """Return the same as data; None where nothing was looked for. missing: -1 where the number is unknown."""
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
