"""The peer that we are measured against: cryptofeed 2.4.1, in an environment of its own, on the same Python."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import client_environment
from tests.bench.processes import BenchError

VERSION = "2.4.1"
RUNNER = Path(__file__).with_name("cryptofeed_runner.py")
# it uses uvloop where there is one, and is much quicker with it; orjson is for the bare decoding beside it
REQUIREMENTS = (f"cryptofeed=={VERSION}", "uvloop", "orjson")


def environment() -> Path:
    """Return the Python of cryptofeed's environment, made on first use from the package registry."""
    try:
        return client_environment.environment(f"cryptofeed-{VERSION}", REQUIREMENTS)
    except client_environment.EnvironmentFailed as error:
        raise BenchError(str(error)) from error


def versions() -> list[str]:
    """Return what is installed beside it, as `name==version`."""
    command = [str(environment()), "-m", "pip", "freeze"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """The runner's last figures. waiting: trades in the sink's queue."""

    at: float  # time.monotonic(), one clock for all processes of the machine
    received: int
    connections: int
    waiting: int
    unsent_bytes: int


def read_status(path: Path) -> RunnerStatus | None:
    """Return the runner's last words, None before the first."""
    try:
        return RunnerStatus(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
