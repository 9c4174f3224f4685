"""Measure how long a person waits before anything happens: `import pumpwatch`, and `pumpwatch --help`."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median
from typing import Any


def start(rounds: int) -> dict[str, Any]:
    """Return the median seconds of so many warm runs of whole processes, the bare interpreter's beside them."""
    return {
        "interpreter_s": _seconds(["-c", "pass"], rounds),
        "import_s": _seconds(["-c", "import pumpwatch"], rounds),
        "help_s": _seconds(["-m", "pumpwatch", "--help"], rounds),
    }


def _seconds(arguments: list[str], rounds: int) -> float:
    taken = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                       timeout=60)
        if number:  # the first run fills the page cache
            taken.append(time.perf_counter() - began)
    return median(taken)
