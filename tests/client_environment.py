"""Environments of programs that are not ours, made once from the package registry and kept: for the bench, and for clients."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import network

CLIENTS = Path(__file__).parent / "playback" / "clients" / "requirements.txt"
INSTALL_S = 900


class EnvironmentFailed(Exception):
    """An environment cannot be made; the message ends with what pip said."""


def cache_folder() -> Path:
    """Return where environments are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pumpwatch"


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment with these requirements, made on first use. Raises EnvironmentFailed."""
    folder = cache_folder() / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}"
    wanted = "\n".join(requirements)
    if (folder / "ready").exists() and (folder / "ready").read_text("utf-8") == wanted:
        return folder / "bin" / "python"
    print(f"installing {' '.join(requirements)} into {folder}", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="old-", dir=folder.parent) as old:  # two that make it at once do not mix
        if folder.exists():
            shutil.move(folder, old)
        for command in ([sys.executable, "-m", "venv", folder],
                        [folder / "bin" / "python", "-m", "pip", "install", "-q", *requirements]):
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=INSTALL_S, check=False,
                                  env=network.environ())
            if done.returncode:
                raise EnvironmentFailed(f"cannot make {folder}:\n{(done.stdout + done.stderr)[-2000:]}")
    (folder / "ready").write_text(wanted, "utf-8")
    return folder / "bin" / "python"


def clients() -> Path:
    """Return the Python of the clients that read replays."""
    lines = [line.partition("#")[0].strip() for line in CLIENTS.read_text("utf-8").splitlines()]
    return environment("clients", [line for line in lines if line])


if __name__ == "__main__":
    print(clients())
