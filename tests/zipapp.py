"""The zipapp as packaging/build makes it, built once for all processes of a test run."""

from __future__ import annotations

import fcntl
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import network

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Zipapp:
    """The file, what its build printed, and the folder that it unpacks itself into."""

    file: Path
    printed: str
    unpacked: Path

    def run(self, *words: str | Path, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it with these words in a folder, with these variables beside those of this process."""
        return subprocess.run([self.file, *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
                              env=os.environ | {"SHIV_ROOT": str(self.unpacked)} | environ)


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Zipapp:
    """Build it, or take the one that another process of this test run has built."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # the folder of the run, above those of its processes
    printed = shared / "zipapp.printed"
    with (shared / "zipapp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            done = subprocess.run([ROOT / "packaging" / "build"], capture_output=True, text=True, timeout=400, check=False,
                                  env=network.environ())
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return Zipapp(ROOT / "dist" / "pumpwatch.pyz", printed.read_text(), shared / "shiv")
