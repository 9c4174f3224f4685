"""A command that runs itself again in the background returns when that one is ready, or with its exit code."""

from __future__ import annotations

import subprocess
import sys

PATCHED = "from gevent import monkey; monkey.patch_all()\n"  # as the program is
READY = PATCHED + "from pumpwatch.commands import background as b; import sys, time\n"


def run(body: str) -> subprocess.CompletedProcess[bytes]:
    code = f"{READY}if b.OPTION in sys.argv: raise SystemExit(b.in_background())\n{body}"
    return subprocess.run([sys.executable, "-c", code, "--background"], capture_output=True, timeout=60, check=False)


def test_it_returns_once_the_child_is_ready() -> None:
    done = run("b.announce_ready(); sys.stdout.close(); sys.stderr.close(); import os; os.close(1); os.close(2); time.sleep(5)")
    assert done.returncode == 0, done.stderr


def test_a_child_that_ends_before_gives_its_exit_code() -> None:
    assert run("raise SystemExit(69)").returncode == 69


def test_without_anybody_who_waits_nothing_is_announced() -> None:
    subprocess.run([sys.executable, "-c", f"{READY}b.announce_ready()"], timeout=60, check=True)
