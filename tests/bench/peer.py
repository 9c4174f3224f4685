"""The peer that we are measured against: cryptofeed 2.4.1, in an environment of its own, on the same Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import BenchError

VERSION = "2.4.1"
RUNNER = Path(__file__).with_name("cryptofeed_runner.py")
# it uses uvloop where there is one, and is much quicker with it; orjson is for the bare decoding beside it
REQUIREMENTS = (f"cryptofeed=={VERSION}", "uvloop", "orjson")


def cache_folder() -> Path:
    """Return where the environment is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pumpwatch"


def environment() -> Path:
    """Return the Python of cryptofeed's environment, made on first use from the package registry."""
    folder = cache_folder() / f"cryptofeed-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists() and ready.read_text("utf-8").split() == [*REQUIREMENTS]:
        return python
    print(f"bench: installing cryptofeed {VERSION} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for command in ([sys.executable, "-m", "venv", folder], [python, "-m", "pip", "install", "-q", *REQUIREMENTS]):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise BenchError(f"cannot make cryptofeed's environment:\n{(done.stdout + done.stderr)[-2000:]}")
    ready.write_text("\n".join(REQUIREMENTS), "utf-8")
    return python


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
