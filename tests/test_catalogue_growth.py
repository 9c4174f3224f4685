"""The table of instruments while it grows: what another thread meets half-way, and when its readers must look again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Instrument

ONE = Instrument(symbol="AUSDT", base="A", quote="USDT")


def test_its_length_counts_what_is_whole():
    class Watched(list):  # type: ignore[type-arg]
        def append(self, one: object) -> None:
            lengths.append((len(catalogue), len(catalogue.instruments), len(catalogue.venues)))
            super().append(one)
            lengths.append((len(catalogue), len(catalogue.instruments), len(catalogue.venues)))

    lengths: list[tuple[int, int, int]] = []
    catalogue = Catalogue()
    catalogue.instruments, catalogue.venues = Watched(), Watched()
    catalogue.add(("a", "spot"), ONE)
    assert len(lengths) == 4 and all(count <= min(others) for count, *others in lengths)


def test_the_revision_goes_up_with_a_symbol_and_with_what_its_numbers_mean():
    catalogue, seen = Catalogue(), []
    for one in (ONE, replace(ONE, volume=5.0), replace(ONE, contract_size=0.01), replace(ONE, price_divisor=100.0),
                replace(ONE, symbol="BUSDT")):
        catalogue.add(("a", "spot"), one)
        seen.append(catalogue.revision)
    catalogue.add_if_new(("a", "spot"), replace(ONE, contract_size=7.0))
    seen.append(catalogue.revision)
    assert [later - earlier for earlier, later in pairwise(seen)] == [0, 1, 1, 1, 0]
