"""Fixtures of the tests of `ops`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.ops.command_line import CommandLine
from tests.ops.data_folder import GAP
from tests.trades import batch_of, catalogue_of


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Run `pumpwatch ARGS...` in this process, in an empty folder."""
    return CommandLine(tmp_path, capsys, monkeypatch)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A data folder with two runs of 5,000 trades each, half of the batches acknowledged by the shelf."""
    folder, clock = tmp_path / "data", FakeClock()
    for run in range(2):
        journal = Journal(folder, catalogue_of(), clock, Stats())
        journal.open()
        for number in range(5):
            last = journal.commit(batch_of(1000, first_id=1 + 5000 * run + 1000 * number, start_ns=clock.now_ns()))
            clock.advance(1)
        journal.record(Records(gaps=[GAP]))
        journal.acknowledge("shelf", last)
        journal.close()
    return folder
