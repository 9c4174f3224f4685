"""The listings of a run: also those that nobody could have traded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pumpwatch.config import Config
from pumpwatch.config_listing import ListingConfig
from pumpwatch.errors import UsageError
from pumpwatch.paper.choice import every_listing, one_archive
from tests.paper.made_archives import RISE, write
from tests.paper.tapes import T0


def config_of(folder: Path) -> Config:
    config = Config(listing=ListingConfig(archive_dir=str(folder)))
    config.store.dir = str(folder / "store")
    return config


@pytest.mark.parametrize(("rows", "listed", "reason"), [
    (RISE, True, None), ([], True, "no trade in its window"),
    ([], False, "the coin was not listed on any venue")])
def test_an_archive_is_played_or_says_why_not(tmp_path: Path, rows: list[tuple[float, float, float, int]], listed: bool,
                                              reason: str | None) -> None:
    [chosen] = one_archive(write(tmp_path, rows, listed=listed))
    assert (chosen.coin, chosen.triggered_at, chosen.left_out) == ("KITE", T0, reason)
    assert (chosen.tape is None) is (reason is not None)


def test_without_a_market_on_the_wanted_venues_these_are_named(tmp_path: Path) -> None:
    [chosen] = one_archive(write(tmp_path), ["none.spot"])
    assert (chosen.tape, chosen.left_out) == (None, "no market on none.spot")


def test_all_are_those_of_the_folder_and_a_damaged_one_is_left_out_by_name(tmp_path: Path) -> None:
    archive = write(tmp_path)
    shutil.copytree(archive, tmp_path / "KITE_20261103T060001Z")
    [found] = every_listing(config_of(tmp_path))
    assert (found.left_out, found.archive) == (None, str(archive))
    with (archive / "chart.html").open("a") as out:
        out.write(" ")
    [found] = every_listing(config_of(tmp_path))
    assert found.left_out is not None and "differs from its manifest: chart.html: has" in found.left_out


def test_a_folder_without_listings_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no listing is known"):
        list(every_listing(config_of(tmp_path)))
