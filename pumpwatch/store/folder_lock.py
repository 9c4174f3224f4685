"""The lock of a data folder: one collector writes to it, and at most one more waits to take over."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError
from pumpwatch.store.sqlite import make_private, storage_error

LOCK_NAME, TAKEOVER_NAME = "lock", "lock.takeover"
TAKEN_HINT = "stop that one, take over from it with `pumpwatch collect --replace`, or give this one its own store.dir"
TRIES, PAUSE_S = 20, 0.01  # a process that checks the lock, or is ending, holds it for a moment


def lock_folder(folder: Path) -> int:
    """Lock a data folder for this process; return the open file that holds the lock. The lock ends with the process."""
    return _lock(folder / LOCK_NAME, f"{folder}: another process (pid %s) collects into this folder", TAKEN_HINT)


def refuse_taken(folder: Path) -> None:
    """Raise StorageError if a collector has locked a data folder; this function locks nothing."""
    for _ in range(TRIES):
        if not (holder := holder_of(folder)):
            return
        time.sleep(PAUSE_S)
    raise StorageError(f"{folder}: another process (pid {holder}) collects into this folder", TAKEN_HINT)


def lock_takeover(folder: Path) -> int:
    """Claim the takeover of a folder for this process; return the open file that holds the claim until it is closed."""
    return _lock(folder / TAKEOVER_NAME, f"{folder}: another process (pid %s) is already taking over", "wait for it")


def is_taken_over(folder: Path) -> bool:
    """Return whether a process is taking over from the one that has locked this folder."""
    try:
        handle = os.open(folder / TAKEOVER_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # there was never a takeover, or the file is inaccessible
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        close_now(handle)
    return False


def _lock(path: Path, problem: str, hint: str) -> int:
    make_private(path)
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    for left in range(TRIES, 0, -1):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if left > 1:
                time.sleep(PAUSE_S)
                continue
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            close_now(handle)
            raise StorageError(problem % holder, hint) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def holder_of(folder: Path) -> int:
    """Return the process id of the collector that has locked a data folder, 0 without one.

    Raises StorageError if the lock is unreadable, or if its process cannot be identified, for example in another container.
    """
    path = folder / LOCK_NAME
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise storage_error(path, "open", error) from error
    try:
        for left in range(TRIES, 0, -1):
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
                if text.isdecimal() and _has_open(int(text), path):
                    return int(text)
                if left > 1:  # the new holder has not written its pid yet, or the old one has just ended
                    time.sleep(PAUSE_S)
                continue
            return 0
    finally:
        close_now(handle)
    raise StorageError(f"{path}: another process has locked it, and the pid in it ({text or 'none'}) is not that process",
                       "stop the collector that uses this folder, in its own container, then start this one")


def _has_open(pid: int, path: Path) -> bool:
    """Return whether a process has a file open; True if that cannot be determined."""
    wanted = path.stat()
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return not Path("/proc/self/fd").exists()
    except OSError:
        return True
    for handle in handles:
        with suppress(OSError):
            found = handle.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False
