"""Gaps summed up to outages: whatever one failure left behind is one outage, however many gaps it made.

A killed collector leaves a gap of each venue, gaps of connections that come up late, and a gap of each symbol whose ids jump
afterwards. Of one venue, gaps of connections and of the whole venue belong together where they follow each other and have a
symbol in common. Gaps of single symbols belong to the outage in whose time they lie; those that ids prove, to the one that lies
in theirs. Outages of several venues are one where the main reason is the same and the times meet.
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
CONNECTION = re.compile(r"^connection \d+ with \d+ symbols?: ")  # which symbols is another column
TOGETHER_NS = NS_PER_S  # gaps that are this near to each other follow each other
ALSO = 2  # further reasons that are named


@dataclass(slots=True)
class Outage:
    """The gaps of one failure, the one that says most of its reason first. Times in ns, [from, to)."""

    from_ns: int
    to_ns: int
    gaps: list[Gap] = field(default_factory=list)

    def add(self, gap: Gap) -> None:
        """Take a gap into it, and make it as long as the gap unless ids alone prove that."""
        if gap.first_id is None:
            self.from_ns, self.to_ns = min(self.from_ns, gap.from_ns), max(self.to_ns, gap.to_ns)
        self.gaps.append(gap)

    def meets(self, from_ns: int, to_ns: int) -> bool:
        """Return whether a time overlaps it, or is less than TOGETHER_NS away."""
        return from_ns <= self.to_ns + TOGETHER_NS and to_ns + TOGETHER_NS >= self.from_ns

    @property
    def state(self) -> GapState:
        """Return the state of the gap that is worst off: open, then lost, then filled."""
        return next(state for state in (GapState.OPEN, GapState.LOST, GapState.FILLED)
                    if any(gap.state == state for gap in self.gaps))

    def states(self) -> str:
        """Return how many of its gaps are in each state, such as `1 open, 8 filled`; empty where all are in the same."""
        counts = Counter(gap.state for gap in self.gaps)
        return "" if len(counts) == 1 else ", ".join(f"{counts[state]:,} {state.value}" for state in (
            GapState.OPEN, GapState.LOST, GapState.FILLED) if counts[state])

    def reason(self) -> str:
        """Return the main reason, and the others that are not mere consequences in the ids."""
        main = kind(self.gaps[0].reason)
        texts: dict[str, set[str]] = {}
        for gap in self.gaps:
            if kind(gap.reason) == main or gap.first_id is None:
                texts.setdefault(kind(gap.reason), set()).add(CONNECTION.sub("", gap.reason))
        named = [found.pop() if len(found) == 1 else common for common, found in texts.items()]
        more = f"; and {len(named) - 1 - ALSO} more" if len(named) > 1 + ALSO else ""
        return "; also ".join(named[:1 + ALSO]) + more


def outages(gaps: Iterable[Gap]) -> list[Outage]:
    """Return gaps summed up, by the time at which they begin."""
    by_venue: dict[Venue, list[Gap]] = {}
    for gap in gaps:
        by_venue.setdefault((gap.exchange, gap.market_type), []).append(gap)
    latest: dict[str, Outage] = {}
    found: list[Outage] = []
    for outage in sorted((one for of_venue in by_venue.values() for one in _of_venue(of_venue)), key=lambda one: one.from_ns):
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
    """Return a reason without the symbols' number and with `…` for each other number in it."""
    return re.sub(r"\d+", CUT, CONNECTION.sub("", reason))


def _of_venue(gaps: Sequence[Gap]) -> list[Outage]:
    ordered = sorted(gaps, key=lambda gap: gap.from_ns)
    found: list[Outage] = []
    live: list[Outage] = []  # those that a gap may still meet
    for gap in ordered:
        if not gap.symbol:
            live = _still(live, gap)
            known = next((outage for outage in live if outage.meets(gap.from_ns, gap.to_ns) and _share(outage, gap)), None)
            if known is None:
                found.append(known := Outage(gap.from_ns, gap.to_ns))
                live.append(known)
            known.add(gap)
    alone: list[Gap] = []
    live = list(found)
    for gap in ordered:
        if not gap.symbol:
            continue
        live = _still(live, gap)
        whole = next((outage for outage in live if _caused(outage, gap)), None)
        if whole is None:
            alone.append(gap)
        else:
            whole.add(gap)
    for outage in found:  # the gap of the whole venue, or else the longest one, says most of the reason
        outage.gaps.sort(key=lambda gap: (bool(gap.symbol), bool(gap.symbols), gap.from_ns - gap.to_ns))
    return found + [Outage(gap.from_ns, gap.to_ns, [gap]) for gap in alone]


def _still(outages: Sequence[Outage], gap: Gap) -> list[Outage]:
    """Return the outages that this gap, or one that begins later, may meet."""
    return [outage for outage in outages if outage.to_ns + TOGETHER_NS >= gap.from_ns]


def _share(outage: Outage, gap: Gap) -> bool:
    """Return whether an outage and a gap of many symbols have one in common."""
    if not gap.symbols or any(not known.symbols for known in outage.gaps):
        return True
    wanted = set(gap.symbols)
    return any(wanted.intersection(known.symbols) for known in outage.gaps)


def _caused(outage: Outage, gap: Gap) -> bool:
    """Return whether the gap of a single symbol is a part of an outage of many."""
    if not outage.meets(gap.from_ns, gap.to_ns) or not any(known.touches(gap.symbol) for known in outage.gaps):
        return False
    common_ns = min(gap.to_ns, outage.to_ns + TOGETHER_NS) - max(gap.from_ns, outage.from_ns - TOGETHER_NS)
    return gap.first_id is not None or 2 * common_ns >= gap.to_ns - gap.from_ns
