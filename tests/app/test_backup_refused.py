"""A backup that its place does not take ends with one clear error, and the collector beside it records on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.errors import EXIT_DISK
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.conftest import Cli
from tests.small_disk import ballast_of, fill, small_disk


def test_a_folder_that_takes_nothing_and_a_disk_that_fills_cost_the_backup_alone(tmp_path: Path, forked_cli: Cli) -> None:
    with SimProcess(venues=["binance.spot"], symbols=6, rate=500.0, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path) as collector, small_disk(tmp_path / "disk", 8) as impossible:
        collector.wait_until_up()

        def backed_up(place: Path) -> tuple[int, str]:
            durable = collector.figures()["journal"]["durable_trades"]
            done = forked_cli("backup", "-c", collector.config_file, env={"PUMPWATCH_BACKUP__FOLDER": str(place)})
            collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > durable + 200)
            assert "Traceback" not in done.stderr
            return done.returncode, done.stderr

        collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > 1000)
        (tmp_path / "file").write_text("")
        code, said = backed_up(tmp_path / "file" / "backups")
        assert code == EXIT_DISK and str(tmp_path / "file") in said
        if impossible:
            pytest.skip(impossible)
        assert backed_up(tmp_path / "disk" / "backups")[0] == 0
        fill(tmp_path / "disk")
        code, said = backed_up(tmp_path / "disk" / "backups")
        assert code == EXIT_DISK and "make room" in said
        ballast_of(tmp_path / "disk").unlink()
        assert backed_up(tmp_path / "disk" / "backups")[0] == 0
        assert collector.figures()["journal"]["dropped_trades"] == 0
        assert collector.stop() == 0
