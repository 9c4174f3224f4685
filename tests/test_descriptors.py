"""A descriptor is closed at once, also in a thread whose hub does not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pumpwatch

CODE = """
import pumpwatch.__main__, errno, gevent, os
from pumpwatch.descriptors import close_now
gevent.get_hub()
for close in (os.close, close_now):
    out, given = os.pipe()
    close(given)
    os.set_blocking(out, False)
    try:
        print("ended" if os.read(out, 1) == b"" else "data")
    except OSError:
        print("open")
"""


def test_a_pipe_ends_at_once_though_the_hub_does_not_run() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "ended", done.stdout


def test_nothing_closes_a_descriptor_by_the_function_that_gevent_replaces() -> None:
    root = Path(pumpwatch.__file__).parent
    assert [path.name for path in root.rglob("*.py") if "os.close(" in path.read_text("utf-8")] == []
