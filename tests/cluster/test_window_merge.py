"""Parts of one window become one content: every trade once, and missing only what no member read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.cluster.window_merge import NOT_READ, alone, merge, was_joined
from pumpwatch.listing.archive import Pass, write_archive
from pumpwatch.listing.completeness import INCOMPLETE, TRADED
from pumpwatch.listing.manifest import ArchiveManifest, read_manifest
from pumpwatch.listing.window_content import WindowContent
from pumpwatch.model import Gap, GapState
from tests.cluster.windows import ANNOUNCED_NS, END_NS, KITE, START_NS, gap_of, part_of, reading, rows_of
from tests.listing.market import listing_of

SPOT, FUTURES, BETA = KITE


def seconds(gaps: list[Gap] | tuple[Gap, ...]) -> list[tuple[str, float, float, str]]:
    return [(gap.symbol, (gap.from_ns - ANNOUNCED_NS) / NS_PER_S, (gap.to_ns - ANNOUNCED_NS) / NS_PER_S, gap.reason)
            for gap in gaps]


def written(folder: Path, content: WindowContent) -> ArchiveManifest:
    made = Pass(END_NS, members=content.members, made_by=content.made_by, problems=content.problems, books=content.books,
                unlisted=content.unlisted)
    archive = write_archive(folder, content.span, content.batch, content.catalogue, content.parts, content.gaps, made)
    found = read_manifest(archive.path)
    assert found is not None
    return found


def test_members_that_read_different_symbols_have_one_archive_of_all(tmp_path: Path) -> None:
    a, b, c = part_of("a", [SPOT]), part_of("b", [FUTURES]), part_of("c", [BETA])
    content = merge(b, [c, a], {})
    manifest = written(tmp_path, content)
    assert len(content.batch) == len(a.batch) + len(b.batch) + len(c.batch)
    assert [(row.member, row.state, row.trades) for row in manifest.members] == [
        (part.facts.member, "merged", len(part.batch)) for part in (a, b, c)]
    assert manifest.made_by == "b" and manifest.problems == ()
    assert {(row.exchange, row.market_type): row.state for row in manifest.venues if row.symbols} == {
        ("alpha", "spot"): TRADED, ("alpha", "futures"): TRADED, ("beta", "spot"): TRADED}
    assert [row.snapshots for row in manifest.books] == [1, 1, 1]


def test_a_trade_that_two_members_read_is_in_it_once_as_it_was_received_first() -> None:
    early, late = part_of("late", [SPOT], received_ms=2), part_of("early", [SPOT])
    content = merge(early, [late], {})
    assert rows_of(content.batch) == rows_of(early.batch) and len(content.batch) == len(early.batch)
    assert int((content.batch.received_at - content.batch.timestamp).max()) == 5 * NS_PER_MS


def test_a_gap_of_one_member_is_closed_by_another_that_read() -> None:
    a = part_of("a", [SPOT], gaps=[gap_of(SPOT, -5, 5)])
    b = part_of("b", [SPOT], reads=[reading(SPOT, (START_NS, ANNOUNCED_NS + 2 * NS_PER_S))])
    assert seconds(merge(a, [b], {}).gaps) == [("KITEUSDT", 2, 5, "connection lost"), ("1000KITEUSDT", -20, 23, NOT_READ),
                                               ("KITE-USDT", -20, 23, NOT_READ)]


def test_a_gap_of_the_whole_venue_says_nothing_of_symbols_that_others_read() -> None:
    venue_wide = gap_of(SPOT, -5, 5, symbol="")
    content = merge(part_of("a", [FUTURES, BETA], gaps=[venue_wide]), [part_of("b", [SPOT])], {})
    assert content.gaps == []


def test_a_gap_that_was_filled_stays_on_record_and_is_not_missing() -> None:
    filled = gap_of(SPOT, -5, 5, state=GapState.FILLED)
    assert merge(part_of("a", KITE, gaps=[filled]), [], {}).gaps == [filled]


def test_a_member_that_gave_no_part_is_named_and_its_symbols_are_incomplete(tmp_path: Path) -> None:
    manifest = written(tmp_path, merge(part_of("a", [SPOT, FUTURES]), [], {"b": "it has not given its part"}))
    assert [(row.member, row.state, row.reason) for row in manifest.members] == [
        ("a", "merged", ""), ("b", "missing", "it has not given its part")]
    assert manifest.problems == ("b: no part: it has not given its part",)
    states = {(row.exchange, row.market_type): row for row in manifest.venues}
    assert states["beta", "spot"].state == INCOMPLETE and states["beta", "spot"].missing[0].reason == NOT_READ
    assert states["alpha", "spot"].state == TRADED


def test_a_missing_part_causes_no_gap_if_others_read_its_symbols(tmp_path: Path) -> None:
    manifest = written(tmp_path, merge(part_of("a", KITE), [], {"b": "it has not given its part"}))
    assert manifest.problems == () and {row.state for row in manifest.venues if row.symbols} == {TRADED}
    assert [row.state for row in manifest.members] == ["merged", "missing"]


def test_a_part_that_comes_later_is_joined_with_the_archive_that_is_there(tmp_path: Path) -> None:
    first = written(tmp_path, merge(part_of("a", [SPOT]), [part_of("b", [FUTURES])], {"c": "it was killed"}))
    again = written(tmp_path, merge(part_of("a", [SPOT]), [part_of("c", [BETA])], {}, first))  # the part of b is gone by now
    assert again.trades == first.trades + len(part_of("c", [BETA]).batch) - sum(
        int(not START_NS <= at < END_NS) for at in part_of("c", [BETA]).batch.timestamp.tolist())
    assert {row.state for row in again.venues if row.symbols} == {TRADED}
    assert [row.trades for row in first.venues if row.market_type == "futures"] == [
        row.trades for row in again.venues if row.market_type == "futures"]


def test_the_earliest_sight_counts_and_the_window_is_as_wide_as_all_need() -> None:
    early, late = listing_of(after_s=1.0), listing_of(after_s=4.0)
    one, other = part_of("a", [SPOT], listing=late), part_of("b", [FUTURES, BETA], listing=early)
    content = merge(one, [other], {})
    assert content.span.listings == [early]
    assert [(seen.sight.seen_at_ns, seen.sight.member, len(seen.shown)) for seen in content.span.seen] == [
        (early.detected_at_ns, "b", 2)]


def test_members_that_saw_another_source_first_have_one_listing() -> None:
    push = replace(listing_of(after_s=1.0), source="push", exchange="upbit")
    content = merge(part_of("a", [SPOT], listing=listing_of(after_s=2.0)), [part_of("b", [FUTURES, BETA], listing=push)], {})
    assert content.span.listings == [push] and len(content.span.seen) == 2
    second = replace(listing_of(after_s=2.0), notice_id="other")
    assert merge(part_of("a", [SPOT]), [part_of("b", [BETA], listing=second)], {}).span.listings == [second, listing_of()]


def test_a_member_s_own_archive_names_the_member_that_joins_the_parts(tmp_path: Path) -> None:
    manifest = written(tmp_path, alone(part_of("a", [SPOT]), "b", ""))
    assert [(row.member, row.state) for row in manifest.members] == [("a", "alone")] and not was_joined(manifest)
    assert "b joins" in manifest.members[0].reason
    # what is not in it counts as not read, not as read without a trade
    after = merge(part_of("a", [SPOT]), [], {}, manifest)
    assert [gap.symbol for gap in after.gaps] == ["1000KITEUSDT", "KITE-USDT"]


def test_a_venue_is_without_a_list_only_if_no_member_has_one() -> None:
    a, b = part_of("a", [SPOT]), part_of("b", KITE)
    a = replace(a, facts=msgspec.structs.replace(a.facts, unlisted=("beta.spot", "delta.spot")))
    b = replace(b, facts=msgspec.structs.replace(b.facts, unlisted=("delta.spot",), problems=("the disk is full",)))
    content = merge(a, [b], {})
    assert content.unlisted == ["delta.spot"] and content.problems == ["b: the disk is full"]
