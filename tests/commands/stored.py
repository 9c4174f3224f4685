"""A data folder for tests of commands: some minutes of trades, and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pumpwatch.clock import FakeClock
from pumpwatch.model import Gap
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

START_NS = FakeClock().now_ns()  # 2023-11-14T22:13:20Z
LONG_AGO = "1970-01-01T00:00:00Z"


def stored(folder: Path, rows: int = 1000, gaps: Sequence[Gap] = ()) -> Path:
    """Store trades of C0 to C3 and gaps; return a config file that names the folder."""
    journal = Journal(folder, catalogue_of(), FakeClock(), Stats())
    journal.open()
    if gaps:
        journal.record(Records(gaps=list(gaps)))
    journal.commit(batch_of(rows, start_ns=START_NS))
    journal.close()
    config = folder / "c.yaml"
    config.write_text(f"store: {{dir: {folder}}}\nlisting: {{archive_dir: {folder}}}\n", "utf-8")
    return config
