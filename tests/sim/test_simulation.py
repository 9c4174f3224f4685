"""A simulation puts venues, boards and sources together, trades at its rate, and ends with a complete ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gevent
import pytest

from pumpwatch.errors import ConfigError
from pumpwatch.sim.burst import BurstSource
from pumpwatch.sim.control import plan
from pumpwatch.sim.ground_truth import load_truth
from pumpwatch.sim.options import FaultOptions, ListingOptions, SimOptions, TapeOptions
from pumpwatch.sim.simulation import Simulation
from pumpwatch.sim.source import LiveSource
from pumpwatch.sim.tape import RecordingSource
from tests.sim.fakes import BOARD, DIALECT, connect


def simulation(folder: Path, **options: Any) -> Simulation:
    return Simulation(SimOptions(folder=str(folder), symbols=2, rate=1000, **options), [DIALECT, BOARD])


def test_planned_listings_and_faults_happen_while_it_trades_and_the_truth_is_complete(tmp_path: Path) -> None:
    made = simulation(tmp_path, seconds=0.1, listings=[ListingOptions(at_s=0.02, coin="BTC")],
                      faults=[FaultOptions(kind="cut", at_s=0.01)])
    made.planned = plan(made)
    connection, stream = connect(made.venues["fake.spot"], "BTC", "ETH")
    gevent.spawn(made.stop_after_trading)
    made.run()
    made.close()
    truth = load_truth(tmp_path)
    kinds = [event["kind"] for event in truth.events]
    assert kinds == ["up", "fault", "down", "published", "paused"] and stream.aborted and connection.ended
    assert made.venues["fake.spot"].made >= 99 and len(truth.records) == made.venues["fake.spot"].made
    assert [post.title for post in made.boards["board"].ordered()] == ["BTC on KRW, BTC, USDT", "old"]


def test_it_pauses_and_resumes_at_another_rate(tmp_path: Path) -> None:
    made = simulation(tmp_path)
    made.running = True
    made.pause()
    assert not made.running
    made.resume(50)
    assert made.running and sum(source.rate for source in made.sources) == 50
    made.close()


def test_at_the_end_every_connection_is_dropped(tmp_path: Path) -> None:
    made = simulation(tmp_path)
    connection, _ = connect(made.venues["fake.spot"])
    made.close()
    assert connection.reason == "simulation ended"


@pytest.mark.parametrize(("mode", "source"), [("live", LiveSource), ("burst", BurstSource), ("tape", RecordingSource)])
def test_each_mode_has_its_source(tmp_path: Path, mode: str, source: type) -> None:
    tape = tmp_path / "tape.jsonl"
    tape.write_text(json.dumps({"raw": '{"s":"AAA","t":1,"T":1,"p":["10.5"]}'}))
    made = simulation(tmp_path, mode=mode, tape=TapeOptions(files={"fake.spot": [str(tape)]}), truth=False)
    assert [type(each) for each in made.sources] == [source] and list(tmp_path.iterdir()) == [tape]


def test_rules_of_all_venues_are_changed_at_once_and_a_venues_own_come_first(tmp_path: Path) -> None:
    made = simulation(tmp_path, rules={"all": {"connection_age_s": 20.0, "ban_s": 5.0}, "fake.spot": {"ban_s": 9.0}}, lag_s=2.0,
                      truth=False)
    rules = made.venues["fake.spot"].rules
    assert (rules.connection_age_s, rules.ban_s) == (20.0, 9.0)


@pytest.mark.parametrize(("options", "says"), [
    ({"venues": ["nowhere.spot"]}, "no simulator plugin speaks as nowhere.spot"),
    ({"mode": "dream"}, "no mode `dream`"),
    ({"rules": {"fake.spot": {"speed": 1}}}, "rules of fake.spot")])
def test_invalid_options_are_rejected(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        simulation(tmp_path, truth=False, **options)


def test_the_roster_and_named_coins_choose_the_symbols(tmp_path: Path) -> None:
    named = Simulation(SimOptions(folder=str(tmp_path), symbols=["ETH", "MINE"], truth=False), [DIALECT])
    assert [(coin.name, coin.price) for coin in named.coins] == [("ETH", 2650.0), ("MINE", 1.0)]
    full = Simulation(SimOptions(folder=str(tmp_path), roster=7, truth=False), [DIALECT])
    assert len(full.venues["fake.spot"].table) == 7
