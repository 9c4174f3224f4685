"""Joins the members' parts of one window, so that one archive contains every trade once and names what is missing.

A time of a symbol is missing only if no member read it. A member without a part causes no gap if others read its symbols. The
existing archive counts as a part, so everything that was joined once stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pumpwatch.catalogue import Catalogue, VenueKey
from pumpwatch.clock import NS_PER_S
from pumpwatch.cluster.part_codec import Interval, PartFacts, Reading, WindowPart
from pumpwatch.listing.archive import Span
from pumpwatch.listing.books import join_books
from pumpwatch.listing.kept_trades import first_received
from pumpwatch.listing.manifest import ALONE, MERGED, MISSING_PART, ArchiveManifest, MemberRow
from pumpwatch.listing.notice_file import ShownSight
from pumpwatch.listing.open_window import joined
from pumpwatch.listing.window_content import WindowContent
from pumpwatch.model import Gap, GapState, Listing, TradeBatch
from pumpwatch.store.sights import MARKET_OPENED, MARKET_REACH_S, NOTICE_REACH_S

NOT_READ = "not read by a member that has given its part"


def merge(own: WindowPart, others: Sequence[WindowPart], missing: Mapping[str, str], archived: ArchiveManifest | None = None,
          name: str = "") -> WindowContent:
    """Return the content of all parts. It blocks, so call it in a thread.

    missing: the members without a part, with the reason. archived: the manifest of the existing archive. name: its folder's name.
    """
    parts = sorted((own, *others), key=lambda part: part.facts.member)
    catalogue, batches = Catalogue(), []
    for part in parts:
        places = np.array([catalogue.add(venue, instrument) for venue, instrument in part.facts.instruments], np.int32)
        columns: list[Any] = list(part.batch.columns())
        columns[1] = places[part.batch.instrument] if len(part.batch) else part.batch.instrument
        batches.append(TradeBatch(*columns))
    facts = [part.facts for part in parts]
    listings = earliest(facts)
    intervals = joined(interval for part in facts for interval in part.intervals)
    known = [*facts, *([_archived_facts(archived)] if archived is not None and was_joined(archived) else [])]
    gaps = missing_of(catalogue, own.facts.coin, known, intervals)
    names = [part.member for part in facts]
    carried = [row for row in archived.members if row.state == MERGED and row.member not in names] if archived is not None else []
    missing = {member: reason for member, reason in missing.items() if member not in {row.member for row in carried}}
    problems = [f"{part.member}: {problem}" for part in facts for problem in part.problems]
    if any(gap.reason.startswith(NOT_READ) for gap in gaps):
        problems += [f"{member}: no part: {reason}" for member, reason in sorted(missing.items())]
    elif any(part.reads is None for part in facts):
        problems += [f"{member}: no part, perhaps with trades that it alone read: {reason}"
                     for member, reason in sorted(missing.items())]
    return WindowContent(
        span=Span(own.facts.coin, listings, intervals, all(part.late for part in facts), name, _seen(facts)),
        batch=first_received(batches), catalogue=catalogue,
        parts=[replace(source, source=f"{part.member}/{source.source}") for part in facts for source in part.sources],
        gaps=gaps, unlisted=sorted(set.intersection(*(set(part.unlisted) for part in facts))),
        books=join_books(*(part.books for part in parts)), problems=problems, made_by=own.facts.member,
        members=tuple(sorted([MemberRow(part.facts.member, MERGED, len(part.batch), part.facts.made_at_ns) for part in parts]
                             + carried + [MemberRow(member, MISSING_PART, reason=reason) for member, reason in missing.items()
                                if member not in names], key=lambda row: row.member)))


def was_joined(manifest: ArchiveManifest) -> bool:
    """Return whether an archive joined the parts of members."""
    return any(row.state == MERGED for row in manifest.members)


def alone(own: WindowPart, leader: str, name: str) -> WindowContent:
    """Return the content of one member's own archive. leader: the member that joins all parts, empty if unknown."""
    content = merge(own, (), {}, None, name)
    reason = f"{leader} joins the parts of all members" if leader else "the member that joins the parts is unknown"
    row = MemberRow(own.facts.member, ALONE, len(own.batch), own.facts.made_at_ns, reason)
    return replace(content, members=(row,))


def earliest(facts: Sequence[PartFacts]) -> list[Listing]:
    """Return each listing of the parts once, with its earliest sight by any source."""
    found: dict[tuple[str, str, str], Listing] = {}
    for listing in (listing for part in facts for listing in part.listings):
        known = found.get(listing.key)
        if known is None or (listing.detected_at_ns, listing.triggered_at_ns) < (known.detected_at_ns, known.triggered_at_ns):
            found[listing.key] = listing
    kept: list[Listing] = []
    for listing in sorted(found.values(), key=lambda listing: (listing.detected_at_ns, listing.key)):
        if not any(_is_sight_of(listing, other) for other in kept):
            kept.append(listing)
    return kept


def _is_sight_of(listing: Listing, first: Listing) -> bool:
    """Return whether two sights by different sources are of one listing; see `store.sights`."""
    reach_s = MARKET_REACH_S if MARKET_OPENED in (listing.kind, first.kind) else NOTICE_REACH_S
    return (listing.symbol, listing.board) == (first.symbol, first.board) and listing.source != first.source and \
        not (listing.drill or first.drill) and abs(listing.announced_at_ns - first.announced_at_ns) <= reach_s * NS_PER_S


def _seen(facts: Sequence[PartFacts]) -> list[ShownSight]:
    found: dict[tuple[str, str, str], ShownSight] = {}
    for seen in (seen for part in facts for seen in part.seen):
        key = (seen.sight.source, seen.sight.notice_id, seen.sight.symbol)
        known = found.get(key)
        if known is None:
            found[key] = seen
            continue
        first = min(known, seen, key=lambda row: row.sight.seen_at_ns)
        shown = {(row.at_ns, row.event): row for row in (*known.shown, *seen.shown)}
        found[key] = ShownSight(first.sight, tuple(shown[at] for at in sorted(shown)))
    return sorted(found.values(), key=lambda seen: (seen.sight.seen_at_ns, seen.sight.source, seen.sight.notice_id))


def missing_of(catalogue: Catalogue, coin: str, facts: Sequence[PartFacts], intervals: Sequence[Interval]) -> list[Gap]:
    """Return the gaps that no other member covers, cut to the missing times; filled gaps are kept for the record."""
    found: list[Gap] = [gap for part in facts for gap in part.gaps if gap.state == GapState.FILLED]
    for number in catalogue.matching(coin):
        venue, symbol = catalogue.venues[number], catalogue.instruments[number].symbol
        touching = [gap for part in facts for gap in part.gaps if gap.state != GapState.FILLED and _is_of(gap, venue, symbol)]
        covered = joined(span for part in facts for span in _covered(part, venue, symbol))
        for start, end in _without(intervals, covered):
            reasons = [gap for gap in touching if gap.from_ns < end and max(gap.to_ns, gap.from_ns + 1) > start]
            found += [replace(gap, from_ns=max(start, gap.from_ns), to_ns=min(end, max(gap.to_ns, gap.from_ns + 1)),
                              symbol=symbol, symbols=()) for gap in reasons]
            named = joined((gap.from_ns, max(gap.to_ns, gap.from_ns + 1)) for gap in reasons)
            found += [Gap(exchange=venue[0], market_type=venue[1], from_ns=first, to_ns=last, reason=NOT_READ, symbol=symbol)
                      for first, last in _without([(start, end)], named)]
    return list(dict.fromkeys(found))


def _is_of(gap: Gap, venue: VenueKey, symbol: str) -> bool:
    return (gap.exchange, gap.market_type) == venue and gap.touches(symbol)


def _covered(facts: PartFacts, venue: VenueKey, symbol: str) -> list[Interval]:
    """Return when a member read a symbol without a gap, within the intervals of its part."""
    gaps = joined((gap.from_ns, max(gap.to_ns, gap.from_ns + 1)) for gap in facts.gaps
                  if gap.state != GapState.FILLED and _is_of(gap, venue, symbol))
    if facts.reads is None:
        return _without(facts.intervals, gaps)
    spans = joined(span for row in facts.reads if (row.exchange, row.market_type, row.symbol) == (*venue, symbol)
                   for span in row.spans)
    return [(max(first, start), min(last, end)) for start, end in facts.intervals for first, last in _without(spans, gaps)
            if max(first, start) < min(last, end)]


def _without(intervals: Iterable[Interval], taken: Sequence[Interval]) -> list[Interval]:
    """Return the intervals without the `taken` ones, which are disjoint and ascending."""
    left: list[Interval] = []
    for start, end in intervals:
        for first, last in taken:
            if last <= start or first >= end:
                continue
            if first > start:
                left.append((start, first))
            start = max(start, last)
        if start < end:
            left.append((start, end))
    return left


def _archived_facts(manifest: ArchiveManifest) -> PartFacts:
    """Return an archive that joined parts as a part: it has read everything that it does not name as missing."""
    reads = tuple(
        Reading(venue.exchange, venue.market_type, row.symbol,
                tuple(_without(manifest.window, joined((gap.from_ns, gap.to_ns) for gap in venue.missing))))
        for venue in manifest.venues for row in venue.symbols)
    return PartFacts(member="", made_at_ns=0, coin=manifest.coin, listings=(), intervals=manifest.window, instruments=(),
                     reads=reads)
