"""Options are checked: an unknown key is named, and every one has a default."""

from __future__ import annotations

import pytest

from pumpwatch.config_errors import convert
from pumpwatch.errors import ConfigError
from pumpwatch.sim.options import FaultOptions, SimOptions


def test_every_option_of_a_simulation_has_a_default() -> None:
    assert convert({}, SimOptions, "simulation") == SimOptions()


def test_sections_are_read_into_their_types() -> None:
    options = convert({"symbols": ["BTC"], "faults": [{"kind": "cut", "at_s": 2}], "listings": [{"at_s": 1, "coin": "X"}]},
                      SimOptions, "simulation")
    assert options.faults == [FaultOptions(kind="cut", at_s=2.0)] and options.listings[0].markets == ["KRW", "BTC", "USDT"]


@pytest.mark.parametrize(("given", "says"), [({"symbol": 3}, "did you mean `symbols`"), ({"faults": [{"at_s": 1}]}, "kind")])
def test_an_unknown_or_missing_key_is_named(given: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert(given, SimOptions, "simulation")
    assert says in f"{caught.value.message} {caught.value.hint}"
