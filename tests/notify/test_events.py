"""Events are short and useful to people, complete for programs, and carry nothing that steers a chat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.context import Reach
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.model import TradeBatch
from pumpwatch.notify.events import ListingUpdate, archived, example, headline, seen, text
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, trades
from tests.notify.told import AT_NS, listing


def written(folder: Path, *, drill: bool = False) -> ListingUpdate:
    """Return the event of an archive of two venues, the second of which moved first."""
    catalogue: Catalogue = catalogue_of_venues()
    batch = TradeBatch.concat([trades(0, jump_ms=400), trades(1, jump_ms=250)])
    found = replace(listing(catalogue.instruments[0].base, drill=drill), announced_at_ns=ANNOUNCED_NS,
                    detected_at_ns=ANNOUNCED_NS + 1_200_000_000)
    archive = write_archive(folder, Span(found.symbol, [found], intervals_of([found], Reach())), batch, catalogue, [], [],
                            Pass(ANNOUNCED_NS))
    return archived(found, 600.0, archive.path, archive.trades, ["a part\nof it"])


def test_a_listing_that_is_seen_is_told_in_a_few_lines() -> None:
    told = seen(listing(), 600.0)
    assert headline(told) == "KITE gets a KRW market (upbit)"
    assert text(told) == "카이트(KITE) 신규 거래지원 안내\npublished 2026-11-03 06:00:00 UTC, seen 1.2 s later"
    assert (told.id, told.delay_ms, told.late, told.published_at_ns) == ("seen:upbit:6642:KITE", 1200.0, False, AT_NS)
    assert text(seen(listing(), 1.0)).endswith("seen 1.2 s later (late)")


def test_an_archive_is_told_with_first_mover_and_peak(tmp_path: Path) -> None:
    told = written(tmp_path)
    assert told.first is not None and told.peak is not None and told.first.after_ms < 400
    lines = text(told).splitlines()
    assert lines[1].startswith(f"first mover: {told.first.exchange} {told.first.market_type} {told.first.symbol}, +")
    assert lines[1].endswith("after publication") and lines[2].startswith("peak: ")
    assert lines[3] == f"{told.trades:,} trades in {told.archive}" and lines[4] == "problem: a part\\nof it"
    assert headline(told).startswith(f"{told.coin} (upbit): +") and headline(told).endswith("% at the peak")


def test_a_drill_says_so_in_headline_data_and_folder(tmp_path: Path) -> None:
    for told in (seen(listing(drill=True), 600.0), written(tmp_path, drill=True), example(AT_NS)):
        assert told.drill and headline(told).startswith("DRILL: ")
    assert Path(written(tmp_path, drill=True).archive).name.startswith("DRILL-")


def test_an_archive_that_cannot_be_read_is_told_all_the_same(tmp_path: Path) -> None:
    told = archived(listing(), 600.0, tmp_path / "gone", 0, [])
    assert told.first is None and told.peak is None and "cannot be read" in told.problems[0]
    assert "no market moved" in text(told) and headline(told) == "KITE (upbit): archived"


def test_a_title_pings_nobody_and_breaks_no_line() -> None:
    told = seen(listing(title="@everyone <!channel>\n\x1b[2J\u202e" + "x" * 2000), 600.0)
    first = text(told).splitlines()[0]
    assert "@" not in first and "<" not in first and "\x1b" not in first and len(first) <= 200


def test_a_title_and_a_path_hold_no_link_and_can_always_be_written(tmp_path: Path) -> None:
    assert "](" not in text(seen(listing(title="[KITE](https://elsewhere)"), 600.0))
    told = archived(listing(), 600.0, tmp_path / "\udcff", 0, [])
    assert "\\udcff" in msgspec.json.decode(msgspec.json.encode(told))["archive"]


def test_an_event_comes_back_from_its_json(tmp_path: Path) -> None:
    for told in (written(tmp_path), seen(listing(), 600.0)):
        assert msgspec.json.decode(msgspec.json.encode(told), type=ListingUpdate) == told
