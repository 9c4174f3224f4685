"""The long runs keep working: their arithmetic, and a short run that is compared whole."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.app.reckoning import settle
from tests.soak import __main__ as soak
from tests.soak.reckoning import Result, differing, reckon
from tests.soak.scenarios import SCENARIOS
from tests.trades import batch_of

GOOD = Result(sent=9, stored=9, missing=0, doubled=0, different=0, unknown=0, unnamed=0, false_complete=0, false_alarms=0,
              minutes=9, gaps={}, lost_reasons={}, notes={})


def test_every_scenario_is_described_and_every_described_one_exists() -> None:
    described = (soak.__doc__ or "").partition("Scenarios: ")[2].partition(". Each runs")[0]
    assert re.findall(r"(\w+) \(", described) == list(SCENARIOS)


def test_a_run_is_good_only_with_nothing_lost_and_every_gap_done_in_time() -> None:
    assert GOOD.good and replace(GOOD, filled_s=60.0, filled_within_s=60.0, false_alarms=3).good
    assert not replace(GOOD, filled_s=60.1, filled_within_s=60.0).good
    for fault in ("doubled", "different", "unknown", "unnamed", "false_complete", "sink_differs"):
        assert not replace(GOOD, **{fault: 1}).good, fault


def test_rows_of_two_stores_are_compared_in_any_order_and_with_their_number() -> None:
    batch = batch_of(50)
    backwards = batch.take(np.arange(49, -1, -1))
    assert differing(batch, backwards) == 0
    assert differing(batch, batch.take(np.arange(48))) == 2
    assert differing(batch, batch.take(np.array([*range(50), 7]))) == 1
    as_text = replace(batch, trade_id=np.zeros(50, np.int64), text_id=batch.trade_id.astype("S20"))
    assert differing(batch, as_text) == 0 and differing(batch, replace(as_text, text_id=np.full(50, b"x"))) == 100
    assert differing(batch, replace(batch, price=batch.price + (np.arange(50) == 3))) == 2


def test_a_short_run_is_whole_and_nothing_is_claimed_falsely(tmp_path: Path) -> None:
    with SimProcess(venues=["binance.spot"], symbols=3, rate=300.0, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        sim.resume()
        time.sleep(0.5)
        settle(sim, collector)
        assert collector.stop() == 0
        truth = sim.truth()
    result = reckon(truth, collector.data, 1.5, 60.0, turns=1)
    assert result.good and result.sent == result.stored > 0 and result.minutes > 0
    assert result.figures()["filled_s"] == 1.5 and result.notes == {"turns": 1}
