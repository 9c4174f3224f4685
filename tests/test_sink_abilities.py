"""A sink's abilities are known by its methods."""

from __future__ import annotations

from pumpwatch import sink_abilities
from pumpwatch.hookspecs import Keeping
from pumpwatch.sink_abilities import CountingSink, DroppingSink, KeepingSink, StoredDay, SummingSink, TrialSink


class Keeps:
    def keeping(self) -> Keeping:
        return Keeping()


def test_a_sink_is_known_by_the_methods_that_it_has() -> None:
    assert isinstance(Keeps(), KeepingSink)
    assert not isinstance(Keeps(), (CountingSink, SummingSink, DroppingSink, TrialSink))


def test_every_ability_can_be_asked_for() -> None:
    abilities = [found for name, found in vars(sink_abilities).items() if name.endswith("Sink") and name != "Sink"]
    assert len(abilities) == 8 and not any(isinstance(object(), ability) for ability in abilities)


def test_a_stored_day_has_its_bounds_and_sizes() -> None:
    day = StoredDay("2026-11-20", 0, 86_400 * 10**9, 5, 100)
    assert (day.name, day.to_ns - day.from_ns, day.trades, day.size_bytes) == ("2026-11-20", 86_400 * 10**9, 5, 100)
