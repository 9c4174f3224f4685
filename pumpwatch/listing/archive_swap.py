"""Put a folder that was written beside an archive in the archive's place, so that one of both is there at any moment.

The two folders are exchanged in one step where the system can do that (Linux, and most file systems). Elsewhere the old one is
renamed first; a crash in between leaves it under another name, and `recover` brings it back.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from pumpwatch.descriptors import close_now

AT_FDCWD = -100  # of the C library: paths count from the working directory
RENAME_EXCHANGE = 2


def partial_of(path: Path) -> Path:
    """Return the hidden folder beside an archive in which this process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def put_in_place(partial: Path, path: Path) -> None:
    """Give a written folder the archive's name, remove the archive that had it, and sync the change. Raises OSError."""
    aside = _aside_of(path)
    if not path.exists():
        partial.rename(path)
    elif _exchange(partial, path):
        aside = partial
    else:
        path.rename(aside)
        partial.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        close_now(directory)
    shutil.rmtree(aside, ignore_errors=True)


def recover(path: Path) -> None:
    """Repair the results of a crash: an archive that was renamed and not replaced, and folders half written. Raises OSError."""
    aside = _aside_of(path)
    if aside.exists():
        if path.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(path)
    for left in path.parent.glob(f".{path.name}.*.partial"):
        if not _runs(left.name.split(".")[-2]):
            shutil.rmtree(left, ignore_errors=True)


def _aside_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def _runs(pid: str) -> bool:
    """Return whether a process of this number is alive."""
    return pid.isdecimal() and Path(f"/proc/{pid}").exists()


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return whether the system could do it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return int(rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)) == 0
