"""Count and time the calls of a sink's methods."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np

RECENT = 1_000  # calls per method whose times are kept
SHOWN = 300  # most characters of an error


class _Operation:
    """The calls of one method."""

    def __init__(self) -> None:
        self.total, self.seconds, self.running = 0, 0.0, 0
        self.errors: Counter[str] = Counter()  # by the name of the error's class
        self.recent_ms: deque[float] = deque(maxlen=RECENT)
        self.failed_in_a_row, self.last_error = 0, ""


class SinkCalls:
    """The calls of one sink, by method. Any thread may call `timed` and `rows`."""

    def __init__(self) -> None:
        self._operations: dict[str, _Operation] = {}
        self._lock = threading.Lock()  # held for additions alone

    def timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wrapper of the method that counts and times its calls as `name`. Errors pass through."""
        operation = self._operations.setdefault(name, _Operation())

        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                operation.running += 1
            began, error, message = time.perf_counter(), "", ""
            try:
                return method(*arguments, **named)
            except BaseException as raised:
                error, message = type(raised).__name__, str(raised)[:SHOWN]
                raise
            finally:
                took_s = time.perf_counter() - began
                with self._lock:
                    operation.running -= 1
                    operation.total += 1
                    operation.seconds += took_s
                    operation.recent_ms.append(took_s * 1000)
                    operation.failed_in_a_row, operation.last_error = (
                        (operation.failed_in_a_row + 1, message) if error else (0, ""))
                    if error:
                        operation.errors[error] += 1

        return call

    def failing(self, *names: str) -> tuple[int, str]:
        """Return the most failed calls in a row of any of these methods, and that method's last error; (0, "") without any."""
        with self._lock:
            found = [(self._operations[name].failed_in_a_row, self._operations[name].last_error)
                     for name in names if name in self._operations]
        return max(found, default=(0, ""))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each method that was called.

        Keys: operation, total, failed, running, seconds (of all calls), p50_ms and p99_ms (of the last RECENT calls; null while
        the first one runs), errors (count by class).
        """
        with self._lock:
            taken = [(name, operation.total, operation.running, operation.seconds, dict(operation.errors),
                      list(operation.recent_ms))
                     for name, operation in self._operations.items() if operation.total or operation.running]
        found = []
        for name, total, running, seconds, errors, recent_ms in taken:
            p50_ms, p99_ms = np.percentile(recent_ms, (50, 99)).round(3).tolist() if recent_ms else (None, None)
            found.append({"operation": name, "total": total, "failed": sum(errors.values()), "running": running,
                          "seconds": round(seconds, 6), "p50_ms": p50_ms, "p99_ms": p99_ms, "errors": errors})
        return found
