"""Call other people's code, and look at what it does: what it returns or raises, and whether it reaches outside.

Beside the supervisor and the import of plugins this is the one place that catches everything: what a plugin's function
raises is what the contract asks about.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pumpwatch.errors import REFUSALS
from pumpwatch.net.texts import one_line

T = TypeVar("T")

# Audit events of Python itself: files, sockets, processes, other I/O; waiting only where Python tells (3.13).
OUTSIDE = ("open", "socket.", "subprocess.", "os.", "sqlite3.", "urllib.", "http.", "shutil.", "tempfile.", "time.sleep",
           "ftplib.", "smtplib.", "ctypes.dlopen")


@dataclass(frozen=True, slots=True)
class CallResult(Generic[T]):
    """What a call gave: a value, or an error."""

    value: T | None
    error: Exception | None

    @property
    def refused(self) -> bool:
        """Whether it raised what a plugin's function may raise on input it was not made for."""
        return isinstance(self.error, REFUSALS)

    @property
    def broke(self) -> bool:
        """Whether it raised anything else."""
        return self.error is not None and not self.refused

    def said(self) -> str:
        """Return the error in one line with the place it came from."""
        if self.error is None:
            return ""
        where, trace = "", self.error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename != __file__:
                where = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
            trace = trace.tb_next
        return f"{type(self.error).__name__}: {one_line(str(self.error))}{where}"


def attempt(function: Callable[..., T], *arguments: Any) -> CallResult[T]:
    """Call it and return what came of it; never raises an Exception."""
    try:
        return CallResult(function(*arguments), None)
    except Exception as error:
        return CallResult(None, error)


class _Ear:
    """Hears the audit events of one thread while it listens. Python keeps a hook for the life of the process."""

    def __init__(self) -> None:
        self.thread = 0
        self.heard: list[str] = []
        self.installed = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.thread and event.startswith(OUTSIDE) and threading.get_ident() == self.thread:
            self.heard.append(f"{event} {str(arguments[0])[-60:] if arguments else ''}".strip())


_ear = _Ear()


class _Printed(io.TextIOBase):
    """Stands in for stdout and stderr, and hears what is written to them."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def write(self, text: str) -> int:
        self._heard.append(f"print {text.strip()[:60]!r}")
        return len(text)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what this thread does to files, sockets and processes meanwhile, and what is printed."""
    if not _ear.installed:
        sys.addaudithook(_ear)
        _ear.installed = True
    _ear.heard, _ear.thread = [], threading.get_ident()
    printed = _Printed(_ear.heard)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            yield _ear.heard
    finally:
        _ear.thread = 0
