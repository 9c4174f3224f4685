"""Sum gaps up to outages: all gaps that one failure left are one outage.

A killed collector leaves a gap of each venue, gaps of connections that come up late, and a gap of each symbol whose ids jump
afterwards. On one venue, gaps of connections and of the whole venue are one outage if they follow each other and share a symbol.
A gap of a single symbol belongs to an outage that covers at least half of it, or that it meets if ids prove the gap. Outages of
several venues are one if their main reasons are equal and their times meet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pumpwatch.clock import NS_PER_S
from pumpwatch.commands.table import CUT
from pumpwatch.model import Gap, GapState

Venue = tuple[str, str]  # exchange, market_type
CONNECTION = re.compile(r"^connection \d+ with \d+ symbols?: ")  # another column names the symbols
TOGETHER_NS = NS_PER_S  # gaps at most this far apart follow each other
ALSO = 2  # further reasons that a text lists


@dataclass(slots=True)
class Outage:
    """The gaps of one failure, the most telling reason first. Times in ns, [from, to)."""

    from_ns: int
    to_ns: int
    gaps: list[Gap] = field(default_factory=list)

    def add(self, gap: Gap) -> None:
        """Add a gap, and extend the outage over it unless ids prove the gap: their bounds are wider than the failure."""
        if gap.first_id is None:
            self.from_ns, self.to_ns = min(self.from_ns, gap.from_ns), max(self.to_ns, gap.to_ns)
        self.gaps.append(gap)

    def meets(self, from_ns: int, to_ns: int) -> bool:
        """Return whether a time overlaps the outage, or is at most TOGETHER_NS away."""
        return from_ns <= self.to_ns + TOGETHER_NS and to_ns + TOGETHER_NS >= self.from_ns

    @property
    def state(self) -> GapState:
        """Return the worst state of its gaps: open, then lost, then filled."""
        return next(state for state in (GapState.OPEN, GapState.LOST, GapState.FILLED)
                    if any(gap.state == state for gap in self.gaps))

    def states(self) -> str:
        """Return the number of gaps in each state, such as `1 open, 8 filled`; empty if all are in the same state."""
        counts = Counter(gap.state for gap in self.gaps)
        return "" if len(counts) == 1 else ", ".join(f"{counts[state]:,} {state.value}" for state in (
            GapState.OPEN, GapState.LOST, GapState.FILLED) if counts[state])

    def reason(self) -> str:
        """Return the main reason, then other reasons except those of gaps that ids prove, which are consequences."""
        main = kind(self.gaps[0].reason)
        texts: dict[str, set[str]] = {}
        for gap in self.gaps:
            if kind(gap.reason) == main or gap.first_id is None:
                texts.setdefault(kind(gap.reason), set()).add(CONNECTION.sub("", gap.reason))
        named = [found.pop() if len(found) == 1 else common for common, found in texts.items()]
        more = f"; and {len(named) - 1 - ALSO} more" if len(named) > 1 + ALSO else ""
        return "; also ".join(named[:1 + ALSO]) + more


def outages(gaps: Iterable[Gap]) -> list[Outage]:
    """Return the outages of these gaps, ordered by their beginning."""
    by_venue: dict[Venue, list[Gap]] = {}
    for gap in gaps:
        by_venue.setdefault((gap.exchange, gap.market_type), []).append(gap)
    latest: dict[str, Outage] = {}
    found: list[Outage] = []
    each = (outage for of_venue in by_venue.values() for outage in _of_venue(of_venue))
    for outage in sorted(each, key=lambda outage: outage.from_ns):
        reason = kind(outage.gaps[0].reason)
        known = latest.get(reason)
        if known is not None and known.meets(outage.from_ns, outage.to_ns):
            known.from_ns, known.to_ns = min(known.from_ns, outage.from_ns), max(known.to_ns, outage.to_ns)
            known.gaps += outage.gaps
        else:
            latest[reason] = outage
            found.append(outage)
    return found


def kind(reason: str) -> str:
    """Return a reason without its connection, and with `…` for each number."""
    return re.sub(r"\d+", CUT, CONNECTION.sub("", reason))


def _of_venue(gaps: Sequence[Gap]) -> list[Outage]:
    ordered = sorted(gaps, key=lambda gap: gap.from_ns)
    found: list[Outage] = []
    live: list[Outage] = []  # outages that a later gap may meet
    for gap in ordered:
        if not gap.symbol:
            live = _within_reach(live, gap)
            known = next((outage for outage in live if outage.meets(gap.from_ns, gap.to_ns) and _share_symbol(outage, gap)), None)
            if known is None:
                found.append(known := Outage(gap.from_ns, gap.to_ns))
                live.append(known)
            known.add(gap)
    alone: list[Gap] = []
    live = list(found)
    for gap in ordered:
        if not gap.symbol:
            continue
        live = _within_reach(live, gap)
        whole = next((outage for outage in live if _contains(outage, gap)), None)
        if whole is None:
            alone.append(gap)
        else:
            whole.add(gap)
    for outage in found:  # the gap of the whole venue, or else the longest one, says most of the reason
        outage.gaps.sort(key=lambda gap: (bool(gap.symbol), bool(gap.symbols), gap.from_ns - gap.to_ns))
    return found + [Outage(gap.from_ns, gap.to_ns, [gap]) for gap in alone]


def _within_reach(outages: Sequence[Outage], gap: Gap) -> list[Outage]:
    """Return the outages that this gap or a later one may meet."""
    return [outage for outage in outages if outage.to_ns + TOGETHER_NS >= gap.from_ns]


def _share_symbol(outage: Outage, gap: Gap) -> bool:
    """Return whether an outage and a gap of many symbols have a symbol in common."""
    if not gap.symbols or any(not known.symbols for known in outage.gaps):
        return True
    wanted = set(gap.symbols)
    return any(wanted.intersection(known.symbols) for known in outage.gaps)


def _contains(outage: Outage, gap: Gap) -> bool:
    """Return whether the gap of a single symbol belongs to an outage of many."""
    if not outage.meets(gap.from_ns, gap.to_ns) or not any(known.touches(gap.symbol) for known in outage.gaps):
        return False
    common_ns = min(gap.to_ns, outage.to_ns + TOGETHER_NS) - max(gap.from_ns, outage.from_ns - TOGETHER_NS)
    return gap.first_id is not None or 2 * common_ns >= gap.to_ns - gap.from_ns
