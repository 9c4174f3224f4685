"""Replace an archive by a folder that was written beside it, so that an archive exists at every moment.

The two folders are exchanged in one step if the system supports that (Linux, and most file systems). Otherwise the old one is
renamed first; a crash in between leaves it under another name, and `recover` restores it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from pumpwatch.descriptors import close_now

AT_FDCWD = -100  # of the C library: paths are relative to the working directory
RENAME_EXCHANGE = 2


def partial_of(path: Path) -> Path:
    """Return the hidden folder in which this process writes the archive."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def put_in_place(partial: Path, path: Path) -> None:
    """Give a written folder the archive's name, sync that, and remove the old archive. Raises OSError."""
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
    """Clean up after a crash: restore an archive that was renamed and not replaced, remove partial folders. Raises OSError."""
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
    """Return whether a process with this pid is alive."""
    return pid.isdecimal() and Path(f"/proc/{pid}").exists()


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return whether the system can do that."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return int(rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE)) == 0
