"""A collector on simulated venues, as processes of their own, for tests of what a user sees."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

START_S = 120.0


@dataclass(frozen=True)
class Collecting:
    """A running collector: its config file (venues, store) and its data folder."""

    config_file: Path
    folder: Path


@contextmanager
def collecting(folder: Path, symbols: int = 6, rate: int = 60) -> Iterator[Collecting]:
    """Run simulated venues and a collector on them; return when trades are stored, end both by their ids."""
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as log, subprocess.Popen(
            [sys.executable, "-m", "pumpwatch", "simulate", "--coins", str(symbols), "--rate", str(rate), "--stdin"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=environ) as venues:
        try:
            assert venues.stdout is not None
            printed = b""
            while not printed.endswith(b"\n\n"):
                line = venues.stdout.readline()
                assert line, "the simulated venues ended"
                printed += line
            data = folder / "data"
            config = yaml.safe_load(printed)
            config["store"] = {"dir": str(data)}
            config.setdefault("listing", {}).update(archive_dir=str(data), before_s=2.0, after_s=2.0)
            file = folder / "collector.yaml"
            file.write_text(yaml.safe_dump(config))
            with subprocess.Popen([sys.executable, "-m", "pumpwatch", "collect", "-c", str(file)], stderr=log,
                                  cwd=folder, env=environ | {"PUMPWATCH_API__LISTEN": "127.0.0.1:0"}) as collector:
                try:
                    _wait_for_trades(data, collector)
                    yield Collecting(file, data)
                finally:
                    collector.terminate()
                    collector.wait(START_S)
        finally:
            venues.terminate()


def _wait_for_trades(data: Path, collector: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert collector.poll() is None, "the collector ended"
        status = data / "status.json"
        if status.exists():
            figures = msgspec.json.decode(status.read_bytes())
            if all(venue["trades_total"] for venue in figures["venues"]) and figures["venues"]:
                return
        time.sleep(0.1)
    raise AssertionError("the collector stored nothing")
