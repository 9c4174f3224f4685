"""A file system of a few megabytes, and a way to fill it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 600_000_000  # larger file systems are never filled: they are not a test's own


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[str]:
    """Mount an empty file system on `folder`, which is made; yield why that is not possible here, "" where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None:
        yield "the program mount is not here"
        return
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        yield done.stderr.strip() or f"mount ended with {done.returncode}"
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def ballast_of(folder: Path) -> Path:
    """Return the file that `fill` makes; without it there is room again."""
    return folder / "ballast"


def fill(folder: Path) -> Path:
    """Take all the room there is; only of a small file system of the test's own. Return the ballast."""
    state = os.statvfs(folder)
    assert os.path.ismount(folder) and state.f_blocks * state.f_frsize <= MOST_BYTES, f"{folder} is not a small file system"
    ballast = ballast_of(folder)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast
