"""The machine of an installation: its root folder, its accounts, its service manager and its programs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pumpwatch.errors import PumpWatchError, ServiceUnavailable

UNIT = "pumpwatch.service"
COMMAND_S = 900.0  # a reload waits until every symbol is read; the unit allows it 600 s
LAST_LINES = 5  # shown of a program that failed

Words = tuple[str, ...]


class StepFailed(PumpWatchError):
    """A step failed: the steps before it are undone, and the installation stops."""


def run_program(words: Sequence[str]) -> tuple[int, str]:
    """Run a program of the system without input; return its exit code and its joined output streams."""
    done = subprocess.run(list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=COMMAND_S, check=False)
    return done.returncode, done.stdout


@dataclass(frozen=True)
class TargetMachine:
    """A system below `root`: `/` is the running system; any other root is a tree of files, such as a container image.

    `run` runs a program of the running system. Steps take and show paths inside the root.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], tuple[int, str]] = run_program

    @property
    def is_running(self) -> bool:
        """Return whether this is the running system, under systemd."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()

    def inside(self, path: str) -> Path:
        """Return the place of an absolute path of this system. Raises StepFailed if links lead out of the root."""
        there = self.root / path.lstrip("/")
        if not there.parent.resolve().is_relative_to(self.root.resolve()):
            raise StepFailed(f"{there}: a link above it leads out of {self.root}", "install inside that system instead")
        return there

    def run_or_fail(self, words: Sequence[str]) -> None:
        """Run a program. Raises StepFailed with its last lines if it fails or cannot be started."""
        try:
            code, printed = self.run(words)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StepFailed(f"`{shlex.join(words)}`: {error}") from error
        if code:
            raise StepFailed(f"`{shlex.join(words)}` failed with exit code {code}", _last(printed))

    def last_lines(self, words: Sequence[str]) -> str:
        """Return the last lines that a program prints; empty without words, or if it fails."""
        try:
            code, printed = self.run(words) if words else (1, "")
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "" if code else _last(printed)

    def succeeds(self, words: Sequence[str]) -> bool:
        """Run a program and return whether its exit code is 0."""
        try:
            return self.run(words)[0] == 0
        except (OSError, subprocess.TimeoutExpired):
            return False

    def systemctl(self, *words: str) -> Words:
        """Return the words of a call of systemctl for this system."""
        return ("systemctl", *(() if self.root == Path("/") else (f"--root={self.root}",)), *words)

    def serves(self) -> bool:
        """Return whether the service runs now."""
        return self.is_running and self.succeeds(("systemctl", "is-active", "--quiet", UNIT))

    def number_of(self, kind: str, name: str) -> int | None:
        """Return the number of a user (kind `passwd`) or a group (kind `group`) of this system; None without it."""
        if self.root == Path("/"):
            code, printed = self.run(("getent", kind, name))
            lines = [] if code else printed.splitlines()
        else:
            file = self.inside(f"/etc/{kind}")
            lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
        for line in lines:
            fields = line.split(":")
            if fields[0] == name and len(fields) > 2 and fields[2].isdecimal():
                return int(fields[2])
        return None

    def check(self, *, starts: bool) -> None:
        """Raise PumpWatchError if nothing can be installed here: without a root folder or systemd."""
        if not self.root.is_dir():
            raise StepFailed(f"{self.root} is not a folder", "--root takes the folder of a whole system, such as an image's")
        if shutil.which("systemctl") is None:
            raise ServiceUnavailable("this system does not have systemd, so a service cannot be installed", BY_HAND)
        if starts and self.root == Path("/") and not self.is_running:
            raise ServiceUnavailable("systemd does not run on this system, so a service cannot be started",
                                     "with --no-start it is installed and starts at the next boot; " + BY_HAND)


def _last(printed: str) -> str:
    return "; ".join([line.strip() for line in printed.splitlines() if line.strip()][-LAST_LINES:])


BY_HAND = ("by hand: have a supervisor run `pumpwatch.pyz collect -c FILE`, start it again when it ends, and send it SIGTERM to "
           "stop it")


def is_root() -> bool:
    """Return whether this process runs as root."""
    return os.geteuid() == 0
