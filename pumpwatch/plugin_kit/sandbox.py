"""Call a plugin's functions and observe them: the value or the error, and effects outside the function.

This module catches every exception, like the supervisor and the import of plugins: the contract is about the exceptions
that a plugin's functions raise.
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

# Python's audit events of files, sockets, processes and other I/O; time.sleep raises one since Python 3.13.
OUTSIDE = ("open", "socket.", "subprocess.", "os.", "sqlite3.", "urllib.", "http.", "shutil.", "tempfile.", "time.sleep",
           "ftplib.", "smtplib.", "ctypes.dlopen")


@dataclass(frozen=True, slots=True)
class CallResult(Generic[T]):
    """The result of a call: a value or an error."""

    value: T | None
    error: Exception | None

    @property
    def refused(self) -> bool:
        """Return whether the function raised an error that a plugin's function may raise for bad input."""
        return isinstance(self.error, REFUSALS)

    @property
    def broke(self) -> bool:
        """Return whether the function raised any other error."""
        return self.error is not None and not self.refused

    def message(self) -> str:
        """Return the error in one line, with the place where it was raised; "" without an error."""
        if self.error is None:
            return ""
        raised, trace = None, self.error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename != __file__:
                raised = trace
            trace = trace.tb_next
        where = f" ({Path(raised.tb_frame.f_code.co_filename).name}:{raised.tb_lineno})" if raised is not None else ""
        return f"{type(self.error).__name__}: {one_line(str(self.error))}{where}"


def attempt(function: Callable[..., T], *arguments: Any) -> CallResult[T]:
    """Call the function and return its value or its error; never raises an Exception."""
    try:
        return CallResult(function(*arguments), None)
    except Exception as error:
        return CallResult(None, error)


class _AuditRecorder:
    """Records the audit events of `thread`; 0: of no thread, because Python cannot remove an installed audit hook."""

    def __init__(self) -> None:
        self.thread = 0
        self.effects: list[str] = []
        self.installed = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.thread and event.startswith(OUTSIDE) and threading.get_ident() == self.thread:
            self.effects.append(f"{event} {str(arguments[0])[-60:] if arguments else ''}".strip())


_audit = _AuditRecorder()


class _PrintRecorder(io.TextIOBase):
    """Replaces stdout and stderr, and records the text written to them."""

    def __init__(self, effects: list[str]) -> None:
        self._effects = effects

    def write(self, text: str) -> int:
        self._effects.append(f"print {text.strip()[:60]!r}")
        return len(text)


@contextmanager
def watch_effects() -> Iterator[list[str]]:
    """Yield a list that collects this thread's use of files, sockets and processes, and all printed text."""
    if not _audit.installed:
        sys.addaudithook(_audit)
        _audit.installed = True
    _audit.effects, _audit.thread = [], threading.get_ident()
    printed = _PrintRecorder(_audit.effects)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            yield _audit.effects
    finally:
        _audit.thread = 0
