"""Check the machine of a collector: descriptors, socket buffers, the kernel's clock, versions of libraries.

The hint of each finding has the command that solves it.
"""

from __future__ import annotations

import ctypes
import platform
import re
import resource
import struct
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pumpwatch.findings import FAIL, OK, WARN, Finding

DESCRIPTORS = 1024  # enough for sixty connections of all venues, doubled by renewals, for files, sources and readers
NEARLY = 0.7  # of the descriptors are in use
RECEIVE_BYTES = 4 << 20  # of a venue's burst of one second, while the sweep pauses
TCP_RMEM = Path("/proc/sys/net/ipv4/tcp_rmem")
UNSYNCHRONISED, TIME_ERROR = 0x0040, 5  # of adjtimex(2)
PYTHONS = ((3, 11), (3, 14))
REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*([<>=!~0-9.,\s]*)")


def machine_findings(tcp_rmem: Path = TCP_RMEM) -> Iterator[Finding]:
    """Yield the findings about the machine."""
    yield descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield receive_buffers(tcp_rmem)
    yield from versions()


def descriptors(allowed: int, used: int | None = None) -> Finding:
    """Return a finding: whether a process may open enough files and sockets."""
    detail = f"{allowed:,} may be open" + (f", {used:,} are" if used is not None else "")
    hint = "as a service: LimitNOFILE=65536 in its unit; in a shell: `ulimit -n 65536`"
    if used is not None and used > allowed * NEARLY:
        return Finding("descriptors", FAIL, detail, hint)
    if allowed < DESCRIPTORS:
        return Finding("descriptors", WARN, f"{detail}; all venues together need up to {DESCRIPTORS:,}", hint)
    return Finding("descriptors", OK, detail)


def descriptors_of(pid: int, proc: Path = Path("/proc")) -> Finding | None:
    """Return the same finding for a running process; None if it cannot be inspected."""
    try:
        lines = (proc / str(pid) / "limits").read_text("ascii").splitlines()
        line = next(line for line in lines if line.startswith("Max open files"))
        allowed = int(line.split()[3])
        return descriptors(allowed, sum(1 for _ in (proc / str(pid) / "fd").iterdir()))
    except (OSError, StopIteration, ValueError):
        return None


def open_files(process: Path = Path("/proc/self")) -> dict[str, int]:
    """Return the number of open file descriptors, and their limit. Lists a folder, so call it in a thread."""
    return {"open": sum(1 for _ in (process / "fd").iterdir()), "limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}


def receive_buffers(tcp_rmem: Path = TCP_RMEM) -> Finding:
    """Return a finding: whether the kernel buffers enough for a socket while its frames are not read."""
    try:
        least, usual, most = (int(word) for word in tcp_rmem.read_text("ascii").split())
    except (OSError, ValueError):
        return Finding("socket buffers", OK, "this kernel does not show them")
    detail = f"the kernel keeps up to {most / 1e6:.1f} MB of a connection"
    if most >= RECEIVE_BYTES:
        return Finding("socket buffers", OK, detail)
    return Finding("socket buffers", WARN, f"{detail}; a burst needs {RECEIVE_BYTES / 1e6:.1f} MB",
                   f"`sysctl -w net.ipv4.tcp_rmem='{least} {max(usual, 131_072)} 6291456'`, and in /etc/sysctl.d to keep it")


def kernel_clock() -> tuple[bool, float] | None:
    """Return whether the kernel's clock is synchronised, and its largest error in ms; None if it is unknown."""
    if struct.calcsize("l") != 8:
        return None
    state = ctypes.create_string_buffer(256)  # struct timex; modes 0 only reads
    try:
        code = ctypes.CDLL(None, use_errno=True).adjtimex(state)
    except AttributeError:
        return None
    if code < 0:
        return None
    _, _, _, largest_us, _, status = struct.unpack_from("i4xllllI", state)
    return not status & UNSYNCHRONISED and code != TIME_ERROR, largest_us / 1000


def versions() -> Iterator[Finding]:
    """Yield findings: whether Python and each library have a supported version."""
    python = platform.python_version()
    fits = PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]
    yield Finding("Python", OK if fits else WARN, python, "" if fits else
                  "install Python 3.11 to 3.13, then `packaging/run` makes the environment again")
    try:
        needed = metadata.requires("pumpwatch") or []
    except metadata.PackageNotFoundError:
        needed = []
    found, wrong = [], []
    for line in needed:
        wanted, _, marker = line.partition(";")
        parsed = REQUIREMENT.match(wanted)
        if parsed is None or "extra" in marker:
            continue
        name, ranges = parsed[1], parsed[2].strip()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = ""
        found.append(f"{name} {version}")
        if not version or not within(version, ranges):
            wrong.append(Finding(f"library {name}", WARN if version else FAIL,
                                 f"{version or 'not installed'}; needed is {ranges}",
                                 f"{sys.executable} -m pip install '{name}{ranges}'"))
    yield from wrong
    if found and not wrong:
        yield Finding("libraries", OK, ", ".join(found))


def within(version: str, ranges: str) -> bool:
    """Return whether a version such as `26.9.0` is in ranges such as `<27,>=24.10`."""
    own = _numbers(version)
    for part in filter(None, ranges.replace(" ", "").split(",")):
        operator = part[: 2 if part[1:2] == "=" else 1]
        other = _numbers(part[len(operator):])
        if (operator == ">=" and own < other) or (operator == "<" and own >= other) or (operator == "==" and own != other):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()
