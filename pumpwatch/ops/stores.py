"""Describe every store: its health with the reason, its answers' times, its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumpwatch.errors import PumpWatchError
from pumpwatch.hookspecs import Sink
from pumpwatch.sink_abilities import DescribedSink, ServerFacts

LEDGERS = ("ledger.sqlite", "coverage.sqlite")
CANDLES = "market_data.sqlite3"
DAMAGED = "damaged: the collector builds it again"


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One store. state: `up`, or why it is not. facts: its version and sizes. calls: as in `status.json`; empty where no
    collector runs, or where the store is a file.
    """

    name: str
    state: str
    facts: ServerFacts
    calls: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def works(self) -> bool:
        """Return whether it takes trades, as far as is known."""
        return self.state in ("up", "starting") or self.state.startswith("refilling")


def describe(folder: Path, sinks: Mapping[str, Sink], status: Mapping[str, Any] | None) -> Iterator[StoreRow]:
    """Yield the journal, the other files of the data folder, and each sink, which is asked now.

    status: the figures of a collector that runs, or None. Never raises for a sink that does not answer.
    """
    segments = list((folder / "journal").glob("*.sqlite*"))
    journal = (status or {}).get("journal", {})
    state = "up" if not journal.get("dropped_trades") else "the disk did not take every trade: see `pumpwatch gaps`"
    yield StoreRow("journal", state, ServerFacts("SQLite", _size(segments), sum(path.suffix == ".sqlite" for path in segments)))
    for name in (*LEDGERS, CANDLES):
        files = [folder / f"{name}{part}" for part in ("", "-wal", "-shm")]
        if (folder / name).exists():
            damaged = (folder / f"{name}.damaged").exists()
            yield StoreRow(name, DAMAGED if damaged else "up", ServerFacts("SQLite", _size(files)))
    running = {sink["name"]: sink for sink in (status or {}).get("sinks", ())}
    for name, sink in sinks.items():
        yield _sink_row(name, sink, running.get(name))


def _sink_row(name: str, sink: Sink, running: Mapping[str, Any] | None) -> StoreRow:
    """Return a sink's row: the state is that of the collector where one runs, and that of this question else."""
    calls = (running or {}).get("calls", ())
    try:
        facts = sink.facts() if isinstance(sink, DescribedSink) else ServerFacts()
        state = sink.trouble() or (str(running["state"]) if running else "up")
    except PumpWatchError as error:
        return StoreRow(name, f"down: {error.message}", ServerFacts(), calls)
    return StoreRow(name, state, facts, calls)


def _size(files: Sequence[Path]) -> int:
    found = 0
    for path in files:
        try:
            found += path.stat().st_size
        except FileNotFoundError:  # expired meanwhile
            continue
    return found
