"""Memory and file descriptors of a process, looked at all the time while it runs."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

LOOK_S = 5.0
SETTLED_S = 600.0  # memory is compared with that of minute 10
AROUND_S = 60.0  # a figure is the median of so long: files are opened and closed all the time


@dataclass(frozen=True, slots=True)
class Look:
    """One look. after_s: since the first one. rss_mb: resident memory."""

    after_s: float
    rss_mb: float
    descriptors: int


class Resources:
    """A thread that looks at one process until the `with` ends."""

    def __init__(self, pid: int, look_s: float = LOOK_S) -> None:
        self.looks: list[Look] = []
        self._pid, self._look_s = pid, look_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Resources:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        began = time.monotonic()
        while True:
            try:
                pages = int(Path(f"/proc/{self._pid}/statm").read_text("ascii").split()[1])
                count = sum(1 for _ in Path(f"/proc/{self._pid}/fd").iterdir())
            except OSError:  # it has ended
                return
            self.looks.append(Look(time.monotonic() - began, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, count))
            if self._over.wait(self._look_s):
                return

    def notes(self) -> dict[str, Any]:
        """Return the memory and the descriptors at minute 10, or at half of a shorter run, and at the end, and the most."""
        if not self.looks:
            return {}
        last_s = self.looks[-1].after_s
        settled, end = self._around(min(SETTLED_S, last_s / 2)), self._around(last_s)
        return {"rss_mb": {"minute 10": settled[0], "end": end[0], "most": max(round(look.rss_mb, 1) for look in self.looks)},
                "descriptors": {"minute 10": settled[1], "end": end[1], "most": max(look.descriptors for look in self.looks)}}

    def _around(self, moment_s: float) -> tuple[float, int]:
        """Return the medians of the looks within AROUND_S of a moment."""
        near = [look for look in self.looks if abs(look.after_s - moment_s) <= AROUND_S] or self.looks
        return (round(sorted(look.rss_mb for look in near)[len(near) // 2], 1),
                sorted(look.descriptors for look in near)[len(near) // 2])
