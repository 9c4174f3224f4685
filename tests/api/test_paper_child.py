"""The process of a run is lowered and bounded, and becomes the command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pumpwatch.api.paper_child import AUTOGROUP

MOST = 500_000_000
LOOK = """
import os, resource, sys
from pumpwatch.api import paper_child
os.execv = lambda program, words: print(os.nice(0), resource.getrlimit(resource.RLIMIT_DATA)[0], *words[1:])
paper_child.main(sys.argv[1:])
"""


def looked(parent: int, *, session: bool = True) -> list[str]:
    done = subprocess.run([sys.executable, "-c", LOOK, str(parent), str(MOST), "paper", "run", "--archive", "X"],
                          capture_output=True, text=True, check=True, start_new_session=session)
    return done.stdout.split()


def test_it_gets_a_small_share_and_becomes_the_command() -> None:
    assert looked(os.getpid()) == ["19", str(MOST), "-P", "-m", "pumpwatch", "paper", "run", "--archive", "X"]


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not share the cores out by session")
def test_it_lowers_no_session_but_its_own() -> None:
    before = AUTOGROUP.read_text()
    assert looked(os.getpid(), session=False)
    assert AUTOGROUP.read_text() == before


def test_it_does_nothing_where_its_collector_has_ended() -> None:
    assert looked(os.getpid() + 1_000_000) == []
