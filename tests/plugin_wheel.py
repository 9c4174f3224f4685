"""A plugin's package as a wheel, built and installed without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def pip(*words: str | Path, timeout_s: float = 120) -> None:
    """Run pip of this environment; fail with what it says."""
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, words), "--no-index", "--disable-pip-version-check"],
                          capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def build(package: Path, folder: Path) -> Path:
    """Build the wheel of a package in a copy of it, and return it."""
    source = folder / "source"
    shutil.copytree(package, source, ignore=shutil.ignore_patterns("__pycache__", "test_*.py"))
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels")
    (wheel,) = (folder / "wheels").iterdir()
    return wheel


def install(wheel: Path, target: Path) -> Path:
    """Install a wheel into a folder of its own, and return the folder."""
    pip("install", wheel, "--no-deps", "--target", target)
    return target
