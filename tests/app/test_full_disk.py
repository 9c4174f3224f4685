"""A disk that is full for a while costs no trade: they wait in memory, and nothing is missing or stored twice afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.app.reckoning import counted_in_journal, settle
from tests.conftest import Cli
from tests.small_disk import fill, small_disk


def test_the_journals_disk_is_full_and_has_room_again(tmp_path: Path, forked_cli: Cli) -> None:
    with small_disk(tmp_path / "data", 20) as problem:
        if problem:
            pytest.skip(f"no right to mount a small file system here: {problem}")
        with SimProcess(symbols=3, rate=500.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim, \
                CollectorProcess(sim, tmp_path) as collector:
            collector.wait_until_up()
            ballast = fill(collector.data)
            collector.wait_for_log("journal commit failed")
            collector.wait_for_log("disk full disk=store")
            ballast.unlink()
            collector.wait_for_log("journal accepts trades again")
            collector.wait_for_log("disk ok disk=store")
            settle(sim, collector)
            assert collector.stop() == 0, collector.log()
            truth = sim.truth()
        counted = counted_in_journal(truth, collector.data)
        assert counted.missing == counted.doubled == counted.different == 0 and counted.sent > 0, counted
        assert forked_cli("verify", "-c", collector.config_file).returncode == 0
