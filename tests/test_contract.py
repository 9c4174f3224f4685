"""Every plugin that ships keeps the contract that anyone's is held to."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from pumpwatch.config import Config
from pumpwatch.plugin_kit import check_frames
from pumpwatch.plugin_kit.contract import check_plugin
from pumpwatch.plugin_kit.results import failed
from pumpwatch.plugin_kit.round_trip import check_round_trip
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.dialect import Dialect
from pumpwatch.venue import Venue

SETUP = configparser.ConfigParser()
SETUP.read(Path(__file__).resolve().parent.parent / "setup.cfg", "utf-8")
SHIPPED = [line.split(" = ")[0] for line in SETUP["options.entry_points"]["pumpwatch.plugins"].strip().splitlines()]
PLUGINS = load_plugins(Config())
DIALECTS = {dialect.name: dialect for dialect in PLUGINS.dialects if isinstance(dialect, Dialect)}


def played(variant: str) -> list[tuple[Venue, Dialect]]:
    """Return the venues of a variant whose dialect speaks it."""
    return [(venue, DIALECTS[venue.name]) for venue in PLUGINS.venues
            if venue.variant == variant and DIALECTS[venue.name].path_of(variant) is not None]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_plugin_that_ships_keeps_the_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_frames, "ROUNDS", 1)  # of timing, which only warns
    assert list(failed(list(check_plugin(name, Config(), round_trip=False)))) == []


@pytest.mark.parametrize("variant", sorted({venue.variant for venue in PLUGINS.venues if played(venue.variant)}))
def test_every_venue_that_ships_goes_through_simulator_and_collector_without_loss(variant: str) -> None:
    """One round trip for all venues of a variant; `plugins check` makes one for each plugin."""
    assert list(failed(check_round_trip(played(variant), Config().plugins.folder))) == []


def test_every_venue_that_ships_is_played_in_some_variant() -> None:
    assert {venue.name for venue in PLUGINS.venues} == {venue.name for venue, _ in played("")}
