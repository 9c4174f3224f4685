"""The long runs keep working: their arithmetic, and a short run that is compared whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.model import Flag, Gap, GapState, IdKind
from pumpwatch.ops.completeness import VenueFacts
from pumpwatch.records import GapFill
from pumpwatch.sim.ground_truth import NO_SUBSCRIBER, RECORD, SPOILT, WITHHELD, Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.pending_records import gap_key
from tests.app.collector import CollectorProcess
from tests.app.reckoning import settle
from tests.soak import __main__ as soak
from tests.soak.reckoning import Result, differing, nameless, reckon, unseen_why
from tests.soak.resources import Look, Resources
from tests.trades import batch_of

GOOD = Result(sent=9, stored=9, missing=0, doubled=0, different=0, unknown=0, unnamed=0, out_of_bounds=0,
              false_complete=0, false_alarms=0, minutes=9, gaps={}, lost_reasons={}, unseen={}, alarm_reasons={}, notes={})


def test_every_scenario_is_described_and_every_described_one_exists() -> None:
    described = (soak.__doc__ or "").partition("Scenarios: ")[2].partition(". Each runs")[0]
    assert re.findall(r"(\w+) \(", described) == list(soak.ALL)


def test_a_run_is_good_only_with_nothing_lost_and_every_gap_done_in_time() -> None:
    assert GOOD.good and replace(GOOD, filled_s=60.0, filled_within_s=60.0, false_alarms=3).good
    assert replace(GOOD, unseen={"withheld": 3}).good
    assert not replace(GOOD, filled_s=60.1, filled_within_s=60.0).good
    for fault in ("doubled", "different", "unknown", "unnamed", "out_of_bounds", "false_complete", "sink_differs"):
        assert not replace(GOOD, **{fault: 1}).good, fault


def test_the_table_names_each_figure_and_what_must_be_0() -> None:
    lines = replace(GOOD, unnamed=2, gaps={"open": 1234}, notes={"left_out": "none"}).table().splitlines()
    assert lines[0].split() == ["sent", "9"] and "unnamed                    2  must be 0" in lines
    assert "           1,234  open" in lines and not any("must be 0" in line for line in GOOD.table().splitlines())
    assert "            none  left_out" in lines


def test_rows_of_two_stores_are_compared_in_any_order_and_with_their_number() -> None:
    batch = batch_of(50)
    backwards = batch.take(np.arange(49, -1, -1))
    assert differing(batch, backwards) == 0
    assert differing(batch, batch.take(np.arange(48))) == 2
    assert differing(batch, batch.take(np.array([*range(50), 7]))) == 1
    as_text = replace(batch, trade_id=np.zeros(50, np.int64), text_id=batch.trade_id.astype("S20"))
    assert differing(batch, as_text) == 0 and differing(batch, replace(as_text, text_id=np.full(50, b"x"))) == 100
    assert differing(batch, replace(batch, price=batch.price + (np.arange(50) == 3))) == 2


def gap_of(from_ns: int, to_ns: int, **facts: Any) -> Gap:
    return Gap(exchange="fake", market_type="spot", from_ns=from_ns, to_ns=to_ns, reason="down", **facts)


def fill_of(gap: Gap, state: GapState, lost_from_ns: int = 0, lost_to_ns: int = 0) -> dict[tuple[Any, str], GapFill]:
    return {(gap_key(gap), "AAA"): GapFill(gap=gap, symbol="AAA", state=state, found=0, missing=1, by="", reason="",
                                           lost_from_ns=lost_from_ns, lost_to_ns=lost_to_ns, at_ns=0)}


def test_a_missing_trade_is_named_by_a_gap_that_is_not_filled_and_its_bounds_are_true_or_not() -> None:
    gone = [("fake", "spot", "AAA", 7, 50)]
    gap, jump = gap_of(40, 60), gap_of(10, 20, symbol="AAA", first_id=7, last_id=9)
    assert nameless(gone, [gap], {}) == nameless(gone, [jump], {}) == (0, 0)
    assert nameless(gone, [gap_of(51, 60), gap_of(40, 50), gap_of(40, 60, symbol="BBB")], {}) == (1, 0)
    assert nameless(gone, [replace(gap, state=GapState.FILLED)], {}) == (1, 0)
    assert nameless(gone, [replace(gap, state=GapState.LOST)], fill_of(gap, GapState.FILLED)) == (1, 0)
    assert nameless(gone, [gap], fill_of(gap, GapState.LOST, 45, 50)) == (0, 0)
    assert nameless(gone, [gap], fill_of(gap, GapState.LOST, 51, 60)) == (0, 1)
    assert nameless(gone, [gap, jump], fill_of(gap, GapState.LOST, 51, 60)) == (0, 0)


def test_only_trades_that_a_connection_withheld_or_that_nobody_could_read_or_fetch_are_unseen() -> None:
    records = np.zeros(4, RECORD)
    records["trade_id"], records["state"], records["sent_at"] = [1, 2, 3, 4], [WITHHELD, SPOILT, NO_SUBSCRIBER, NO_SUBSCRIBER], 9
    records["flags"][3] = Flag.ADL
    part = Truth(records, ["fake.spot"], [["AAA"]], [])
    proven, unproven = (VenueFacts(kind, True) for kind in (IdKind.CONTIGUOUS, IdKind.UNIQUE))
    assert [bool(why) for why in unseen_why(part, records, unproven, [10])] == [True, True, False, True]
    assert [bool(why) for why in unseen_why(part, records, unproven, [10**11])] == [True, False, False, True]
    assert [bool(why) for why in unseen_why(part, records, proven, [10])] == [False, False, False, True]
    assert not any(unseen_why(part, records[2:], VenueFacts(IdKind.UNIQUE, False), []))


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


def test_memory_and_descriptors_are_those_of_minute_10_and_of_the_end() -> None:
    resources = Resources(os.getpid())
    resources.looks = [Look(60.0 * minute, 100.0 + minute, 50 + minute // 10) for minute in range(31)]
    assert resources.notes() == {"rss_mb": {"minute 10": 110.0, "end": 130.0, "most": 130.0},
                                 "descriptors": {"minute 10": 51, "end": 53, "most": 53}}


def test_a_running_process_is_looked_at_until_it_ends() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with Resources(child.pid, 0.01) as resources:
            while not any(look.rss_mb > 1 for look in resources.looks):
                time.sleep(0.01)
            child.communicate(b"\n")
        look = max(resources.looks, key=lambda look: look.rss_mb)  # the first one may come before the program is loaded
        assert look.rss_mb > 1 and look.descriptors >= 3
    finally:
        child.kill()
        child.wait()
