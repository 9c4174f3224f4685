"""The symbols that are read on two connections."""

from __future__ import annotations

import pytest

from pumpwatch.config import TopByVolume, VenueConfig
from pumpwatch.feeds.doubled_symbols import DoubledSymbols

VOLUMES = {f"S{number}": float(100 - number) for number in range(20)}


def choice(redundancy: object = 1) -> DoubledSymbols:
    return DoubledSymbols(VenueConfig(redundancy=redundancy), lambda coin: {f"{coin}1", f"{coin}2"})


@pytest.mark.parametrize(("redundancy", "expected"), [(1, set()), (2, set(VOLUMES)), (["S3", "GONE"], {"S3"}),
                                                      (TopByVolume(top=2), {"S0", "S1"}), (TopByVolume(top=99), set(VOLUMES))])
def test_the_config_says_which(redundancy, expected):
    assert choice(redundancy).among(VOLUMES) == expected


@pytest.mark.parametrize("redundancy", [1, ["S1"], TopByVolume(top=1)])
def test_a_coin_is_doubled_until_it_is_released_as_often(redundancy):
    doubled = choice(redundancy)
    before = doubled.among(VOLUMES)
    doubled.double("S")
    doubled.double("S")
    assert doubled.among(VOLUMES) == before | {"S1", "S2"}
    doubled.release("S")
    assert doubled.among(VOLUMES) == before | {"S1", "S2"}
    doubled.release("S")
    doubled.release("S")
    assert doubled.among(VOLUMES) == before
    doubled.double("S")
    assert doubled.among(VOLUMES) == before | {"S1", "S2"}


def test_a_symbol_near_the_edge_of_the_largest_stays_as_it_was():
    doubled = choice(TopByVolume(top=10))
    assert doubled.among(VOLUMES) == {f"S{number}" for number in range(10)}
    assert doubled.among(VOLUMES | {"S10": 90.5, "S9": 90.4}) == {f"S{number}" for number in range(10)}
    assert doubled.among(VOLUMES | {"S19": 200.0, "S9": 1.0}) == {f"S{number}" for number in range(9)} | {"S19"}
