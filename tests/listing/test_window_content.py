"""A pass of a window joins what others have before the archive is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pumpwatch.listing.manifest import MERGED, MemberRow, read_manifest
from pumpwatch.listing.open_window import LOOKS_S
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.listing.window_content import NoSharing, WindowContent
from pumpwatch.model import Listing, TradeBatch
from tests.listing.market import listing_of, trades
from tests.listing.window_desk import Desk


class Neighbour:
    """Has trades of one more venue, after `late` looks at whether they are there. joined: whether each pass was final."""

    def __init__(self, late: int = 0) -> None:
        self.late, self.joined, self.batch = late, list[bool](), TradeBatch.empty()

    def waits(self, listings: Sequence[Listing]) -> bool:
        self.late -= 1
        return self.late >= 0

    def join(self, content: WindowContent, path: Path, final: bool) -> WindowContent:
        self.joined.append(final)
        return replace(content, batch=TradeBatch.concat([content.batch, self.batch]), made_by="a",
                       members=(MemberRow("b", MERGED, len(self.batch)),))


def keeper(desk: Desk, sharing: Neighbour) -> WindowKeeper:
    desk.start()
    desk.keeper._sharing = sharing
    return desk.keeper


def test_alone_a_window_waits_for_nobody_and_has_what_it_has() -> None:
    alone = NoSharing()
    content: WindowContent = object.__new__(WindowContent)
    assert not alone.waits([listing_of()]) and alone.join(content, Path("x"), False) is content


def test_the_first_archive_waits_for_the_parts_of_others_and_has_them(tmp_path: Path) -> None:
    desk, other = Desk(tmp_path), Neighbour(late=2)
    keeper(desk, other)
    desk.detect(listing_of())
    assert desk.wait(21) == [] and desk.wait(0.3) == [] and desk.wait(0.3) == ["KITE_20261103T060000Z"]
    manifest = read_manifest(tmp_path / "archives" / "KITE_20261103T060000Z")
    assert manifest is not None and manifest.made_by == "a" and [row.member for row in manifest.members] == ["b"]


def test_a_part_that_comes_after_the_last_look_is_joined_all_the_same(tmp_path: Path) -> None:
    desk, other = Desk(tmp_path), Neighbour()
    keeper(desk, other)
    desk.detect(listing_of())
    desk.wait(21)
    for look in LOOKS_S:
        desk.wait(look + 1)
    path = tmp_path / "archives" / "KITE_20261103T060000Z"
    before = read_manifest(path)
    assert before is not None and before.final and desk.keeper.not_final() == 0
    other.batch = trades(2, jump_ms=None)
    desk.keeper.look_again([listing_of()], path)
    assert desk.wait(1) == [path.name]
    after = read_manifest(path)
    assert after is not None and after.final and after.trades > before.trades and desk.keeper.not_final() == 0
    desk.keeper.look_again([listing_of(notice_id="gone")], tmp_path / "nothing")  # its archive was removed
    assert desk.keeper.not_final() == 0


def test_an_earlier_sight_of_another_collector_widens_the_window(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    late = listing_of(after_s=3.0)
    desk.detect(late)
    earlier = replace(late, detected_at_ns=late.detected_at_ns - 1_000_000_000)
    desk.keeper.correct(replace(late, detected_at_ns=late.detected_at_ns + 5))  # a later one changes nothing
    before = desk.keeper.open_windows()[0]["end_ns"]
    desk.keeper.correct(earlier)
    (window,) = desk.keeper.open_windows()
    assert window["end_ns"] == int(str(before)) - 1_000_000_000
