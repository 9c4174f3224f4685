"""A replay as a process of its own, forked from one that has imported PumpWatch."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from tests.forked import Forked

END_S = 60.0


@dataclass
class Running:
    """A replay that listens. addresses: as it printed them."""

    process: Forked
    addresses: dict[str, Any]
    out: IO[str]
    log: IO[bytes]

    def ended(self) -> tuple[int, dict[str, Any]]:
        """Wait for its end; return the exit code and the figures that it printed last."""
        code = self.process.wait(END_S)
        return code, json.loads(self.out.read().splitlines()[-1])

    def told(self) -> str:
        """Return what it has written to stderr."""
        self.log.seek(0)
        return self.log.read().decode()


@contextmanager
def running(folder: Path, archive: Path, *options: str) -> Iterator[Running]:
    """Start `pumpwatch replay --json`; kill it at the end."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as log, Path(os.devnull).open("rb") as nothing, os.fdopen(reader) as out:
        process = Forked(["replay", "--archive", str(archive), "--json", *options], folder,
                         (nothing.fileno(), writer, log.fileno()))
        os.close(writer)
        try:
            line = out.readline()
            if not line:
                log.seek(0)
                raise AssertionError(f"the replay ended: {process.wait(END_S)} {log.read().decode()}")
            yield Running(process, json.loads(line), out, log)
        finally:
            process.kill()


@dataclass(frozen=True)
class Recorded:
    """A trade of the archive. quantity: base units."""

    trade_id: str
    timestamp: int
    side: str
    price: float
    quantity: float


def recorded(archive: Path) -> Mapping[str, Sequence[Recorded]]:
    """Return the trades of an archive's raw files by venue, read apart from the code that plays them."""
    found = {}
    for path in sorted((archive / "raw").glob("*/*.json")):
        if not path.name.endswith("_book.json"):
            raw = msgspec.json.decode(path.read_bytes())
            names = ("trade_id", "timestamp", "side", "price", "quantity")
            found[f"{raw['exchange']}.{raw['market_type']}"] = [
                Recorded(*row) for row in zip(*(raw["trades"][name] for name in names), strict=True)]
    return found
