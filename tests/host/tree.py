"""A system in a folder: the accounts and units that an installation needs, and a machine whose programs are scripted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from pumpwatch.host.machine import TargetMachine, run_program
from pumpwatch.host.plan import Wish

TOOLS = ("systemctl", "systemd-analyze", "useradd", "userdel")

needs_systemd = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS),
    reason=f"needs root, and {', '.join(TOOLS)}: packaging/test installs them where it may")


def system(folder: Path) -> Path:
    """Make the root of a system that has accounts of its own, and the units of this one."""
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/shadow").write_text("root:*:19000:0:99999:7:::\n")
    (root / "etc/gshadow").write_text("root:*::\n")
    (root / "bin").mkdir()
    for program in ("bin/sh", "bin/pumpwatch-python"):
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    for units in ("/usr/lib/systemd/system", "/lib/systemd/system"):
        if Path(units, "multi-user.target").exists():
            shutil.copytree(units, root / "usr/lib/systemd/system", symlinks=True)
            break
    return root


def zipapp_like(folder: Path, text: str = "1") -> Path:
    """Write a file that stands for the zipapp."""
    file = folder / "some.pyz"
    file.write_text(f"#!/bin/sh\n# {text}\n")
    return file


def wish(folder: Path, text: str = "1", *, start: bool = True) -> Wish:
    """Return the wish to install such a file."""
    return Wish(zipapp_like(folder, text), "/usr/bin/python3", start=start)


class Programs:
    """Runs programs of the system, but for those that the script answers; `asked` has each call."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, words: Sequence[str]) -> tuple[int, str]:
        self.asked.append(tuple(words))
        for word in words:
            if word in self._answers:
                return self._answers[word]
        return run_program(words)


def files_below(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Return owner, group, mode and content of everything that an installation may touch."""
    found = {}
    for top in ("etc", "opt", "usr/local", "var"):
        for path in sorted((root / top).rglob("*")) if (root / top).exists() else []:
            state = path.lstat()
            text = path.read_text("utf-8") if path.is_file() and path.parent.name != "system" else ""
            found[str(path.relative_to(root))] = (state.st_uid, state.st_gid, state.st_mode & 0o7777, text)
    return {path: state for path, state in found.items() if not path.endswith("-") and not path.endswith(".lock")}


def machine(folder: Path, **answers: tuple[int, str]) -> TargetMachine:
    """Return such a system as a machine."""
    return TargetMachine(system(folder), Programs(**answers))
