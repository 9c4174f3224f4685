"""Facts of the process and its machine: memory, open files, room on a disk."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

PAGE_BYTES = resource.getpagesize()
CONTROL_GROUP, PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self")


def resident_bytes(process: Path = PROCESS) -> int:
    """Return the memory that this process holds, in bytes. Reads one line that the kernel makes; it never waits for a disk."""
    return int((process / "statm").read_text().split()[1]) * PAGE_BYTES


def memory_limit_bytes(process: Path = PROCESS, groups: Path = CONTROL_GROUP, machine: Path = Path("/proc/meminfo")) -> int:
    """Return how much memory this process may have: the lowest limit of its control groups, or the machine's memory."""
    total = next(line for line in machine.read_text().splitlines() if line.startswith("MemTotal:"))
    limits = [int(total.split()[1]) * 1024]
    try:
        own = next(line for line in (process / "cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return limits[0]  # no control groups of version 2
    folder = groups / own.removeprefix("0::").lstrip("/")
    for place in (folder, *folder.parents):
        if not place.is_relative_to(groups):
            break
        try:
            limits.append(int((place / "memory.max").read_text()))
        except (OSError, ValueError):  # not a group of ours to see, or `max`
            continue
    return min(limits)


def memory_figures(limit_bytes: int) -> dict[str, Any]:
    """Return resident_bytes, limit_bytes, and used_ratio: the one by the other."""
    resident = resident_bytes()
    return {"resident_bytes": resident, "limit_bytes": limit_bytes, "used_ratio": round(resident / limit_bytes, 4)}


def file_figures(process: Path = PROCESS) -> dict[str, int]:
    """Return open: the open file descriptors, and limit: how many there may be. Lists a folder, so call it in a thread."""
    return {"open": sum(1 for _ in (process / "fd").iterdir()), "limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}


def disk_figures(folder: Path) -> dict[str, Any]:
    """Return size_bytes, free_bytes (for this user) and used_ratio of a folder's disk, as `df` counts them. May block.

    Raises OSError where the folder is not there.
    """
    disk = os.statvfs(folder)
    used, free = disk.f_blocks - disk.f_bfree, disk.f_bavail
    return {"size_bytes": disk.f_blocks * disk.f_frsize, "free_bytes": free * disk.f_frsize,
            "used_ratio": round(used / (used + free), 4) if used + free else 0.0}
