"""Windows that a stop or a kill cut are continued after the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.listing.manifest import read_manifest
from tests.listing.market import listing_of
from tests.listing.window_desk import MARKET, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_what_was_written_and_is_not_final_is_looked_at_again_after_a_restart(desk: Desk) -> None:
    desk.shelf.batch = MARKET.take(slice(0, 900))
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    desk.keeper.stop()
    desk.clock.advance(10)
    desk.shelf.batch = MARKET
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 1
    assert [desk.wait(0), desk.wait(47)] == [[name], []]  # the look that fell into the time it was down
    desk.start()
    desk.clock.advance(3000)  # the last look falls into the time it was down
    assert desk.keeper.resume(retention_s=7200) == 1
    assert desk.wait(0) == []  # nothing came to it
    found = read_manifest(desk.folder / "archives" / name)
    assert found is not None
    assert (found.final, len(found.passes)) == (True, 4)
    desk.start()
    assert desk.keeper.resume(retention_s=7200) == 0


def test_a_look_after_a_restart_waits_for_the_instrument_lists(desk: Desk) -> None:
    desk.shelf.batch = MARKET.take(slice(0, 900))
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    desk.clock.advance(1000)
    desk.shelf.batch = MARKET
    desk.start(catalogue=Catalogue())
    desk.missing = ["alpha.spot"]
    assert desk.keeper.resume(retention_s=3600) == 1
    assert [desk.wait(5), desk.wait(5)] == [[], []]
    desk.give_lists()
    assert desk.wait(5) == [name]
    assert desk.keeper.not_final() == 0


def test_an_archive_waits_for_the_instrument_lists_of_a_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.clock.advance(100)
    desk.start(catalogue=Catalogue())
    desk.missing = ["alpha.spot", "beta.spot"]
    assert desk.keeper.resume(retention_s=3600) == 1
    assert [desk.wait(5) for _ in range(6)] == [[]] * 6
    assert desk.ledger.listings(unfinished_only=True) != []
    desk.give_lists()
    assert desk.wait(10) == ["KITE_20261103T060000Z"]
    assert desk.published[0][2] > 1000


def test_a_clock_that_stepped_back_before_a_restart_keeps_no_window_open_for_days(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.clock.advance(-5 * 86400)
    desk.start()
    desk.sweeps.clear()
    assert desk.keeper.resume(retention_s=3600) == 1
    assert desk.wait(30) == ["KITE_20261103T060000Z"]
    assert desk.sweeps == []


@pytest.mark.parametrize("fields", [{"symbol": "../../x"}, {"announced_at_ns": 2**62}, {"announced_at_ns": 0}])
def test_an_invalid_listing_of_an_older_version_opens_no_window(desk: Desk, fields: dict[str, Any]) -> None:
    assert desk.ledger.remember_listing(replace(listing_of(), **fields))
    assert desk.ledger.remember_listing(listing_of("OTHER"))
    assert desk.keeper.resume(retention_s=2**40) == 1
    assert desk.wait(60) == ["OTHER_20261103T060000Z"]
    assert [path.name for path in (desk.folder / "archives").iterdir()] == ["OTHER_20261103T060000Z"]
    assert sorted(record.problem[:12] for record in desk.ledger.listings()) == ["", "not opened: "]


def test_a_window_open_at_the_stop_is_finished_after_the_start(desk: Desk) -> None:
    desk.detect(listing_of())
    desk.clock.advance(5)
    desk.keeper.stop()
    assert desk.sweeps == [True, False]
    desk.clock.advance(700)
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 1
    assert desk.wait(0) == ["KITE_20261103T060000Z"]
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 0


def test_a_window_whose_trades_are_no_longer_kept_is_given_up_and_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.detect(listing_of())
    desk.clock.advance(7200)
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 0
    assert desk.ledger.listings(unfinished_only=True) == []
    assert "its trades are no longer kept" in caplog.text


def test_a_listing_that_a_sink_had_not_accepted_is_offered_again_after_a_restart(desk: Desk) -> None:
    desk.sink.trouble = [ServiceUnavailable("the shelf is away")] * 9
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    assert desk.published == []
    desk.clock.advance(650)
    desk.keeper.tick()  # the last look: the archive is final
    found = read_manifest(desk.folder / "archives" / name)
    assert found is not None and (found.final, found.unpublished) == (True, ("shelf",))
    desk.sink.trouble.clear()
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 0
    desk.wait(0)
    assert desk.published == [("KITE", name, desk.ledger.listings()[0].trades)]
    found = read_manifest(desk.folder / "archives" / name)
    assert found is not None and found.unpublished == ()
    desk.start()
    desk.keeper.resume(retention_s=3600)
    desk.wait(1000)
    assert len(desk.published) == 1


@pytest.mark.parametrize("written", [False, True])
def test_of_two_boards_each_keeps_its_archive_over_a_restart(desk: Desk, written: bool) -> None:
    desk.detect(listing_of())
    if written:
        desk.wait(60)
        desk.wait(600)
    desk.ledger.remember_listing(replace(listing_of(after_s=9), source="bithumb", exchange="bithumb"))
    desk.start()
    desk.keeper.resume(retention_s=7200)
    desk.wait(60)
    desk.wait(600)
    found = {record.listing.board: Path(record.archive).name for record in desk.ledger.listings()}
    assert found == {"upbit": "KITE_20261103T060000Z", "bithumb": "KITE_20261103T060000Z_bithumb"}


def test_an_archive_that_cannot_be_read_at_a_start_keeps_its_record(
        desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    desk.detect(listing_of())
    (name,) = desk.wait(23)
    desk.keeper.stop()
    before = desk.ledger.listings()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pumpwatch.listing.window.recover", refuse)
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 0
    assert desk.ledger.listings() == before and before[0].trades and name in before[0].archive
    assert "archive not continued" in caplog.text
    monkeypatch.undo()
    desk.start()
    assert desk.keeper.resume(retention_s=3600) == 1
