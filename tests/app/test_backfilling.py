"""Gaps of a whole collector are filled from the simulated venues' histories: nothing is missing and nothing is there twice."""

from __future__ import annotations

import signal
import time

from pumpwatch.model import GapState
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.reckoning import stored_of

VENUES = ["okx.spot",  # contiguous ids
          "kucoin.spot",  # ids that ascend and skip
          "bybit.futures",  # ids without order
          "phemex.futures"]  # none
# KuCoin gives the last 100 trades of a symbol: they must reach back to the cut also where a busy machine asks late
SHARES = {venue: 0.1 if venue == "kucoin.spot" else 0.3 for venue in VENUES}


def test_what_a_cut_and_a_kill_cost_is_there_a_little_later_and_each_trade_once(tmp_path):
    rules = {venue: {"connects_per_5_minutes": 10_000} for venue in VENUES}
    with SimProcess(venues=VENUES, symbols=4, rate=25.0, shares=SHARES, paused=True, folder=str(tmp_path / "venues"),
                    rules=rules) as sim, \
            CollectorProcess(sim, tmp_path, backfill={"settle_s": 2.0}) as collector:
        collector.wait_until_up()
        sim.resume()
        collector.wait_until(lambda figures: all(row["trades_total"] > 20 for row in figures["venues"]))
        sim.fault("cut")
        time.sleep(1.0)
        collector.wait_until_up()
        collector.kill(signal.SIGKILL)
        collector.start()
        collector.wait_until_up()
        collector.wait_until(lambda figures: figures["backfill"]["filled"] >= 2 * len(VENUES)
                             and not figures["backfill"]["open"])
        sim.pause()
        collector.wait_until_idle()
        assert collector.stop() == 0
        truth = sim.truth()
    counted = compare(truth, *stored_of(truth, collector.data), made=True)
    assert counted.equal, counted
    ledger = Ledger(collector.data)
    assert {gap.state for _, gap in ledger.gaps()} == {GapState.FILLED}
    fills = ledger.fills_between(0, 2**62)
    ledger.close()
    assert sum(fill.found for fill in fills) > 0 and {fill.by for fill in fills} == {"id", "overlap"}
