"""A run that the API starts: one at a time, its end and its id are told, and one that hangs is ended."""

from __future__ import annotations

import sys
from pathlib import Path

import gevent
import pytest

from pumpwatch.api.paper_starts import PaperStart, PaperStarts
from pumpwatch.config import Config
from pumpwatch.errors import UsageError


def starts_of(script: str, within_s: float = 60.0) -> PaperStarts:
    """Return starts whose program is a script: its arguments are the process id, the memory and the words of the command."""
    return PaperStarts(Config(), (sys.executable, "-S", "-c", script), within_s)


def end_of(starts: PaperStarts, start: PaperStart) -> PaperStart:
    with gevent.Timeout(60):
        while start.state == "running":
            gevent.sleep(0.01)
    found = starts.start_of(start.id)
    assert found is not None
    return found


def test_a_run_that_is_done_has_its_id(tmp_path: Path) -> None:
    starts = starts_of(f"import sys; open({str(tmp_path / 'words')!r}, 'w').write(' '.join(sys.argv[3:])); "
                       "print('page /data/paper/a1b2c3/run.html')")
    done = end_of(starts, starts.start(["--archive", "X"]))
    assert (done.state, done.run_id, done.problem) == ("done", "a1b2c3", "")
    assert (tmp_path / "words").read_text() == "paper run --archive X"


def test_a_run_that_fails_says_why() -> None:
    starts = starts_of("import sys; sys.exit('pumpwatch: the archive is cut')")
    failed = end_of(starts, starts.start([]))
    assert (failed.state, failed.run_id, failed.problem) == ("failed", None, "pumpwatch: the archive is cut")


def test_one_runs_at_a_time_and_one_that_hangs_is_ended() -> None:
    starts = starts_of("import time; time.sleep(600)", within_s=0.5)
    first = starts.start([])
    with pytest.raises(UsageError, match="still running"):
        starts.start([])
    assert end_of(starts, first).problem == "it took more than 0 s and was killed"
    assert end_of(starts, starts.start([])).state == "failed"


def test_a_program_that_is_not_there_is_a_problem() -> None:
    starts = PaperStarts(Config(), ("/nowhere/python",))
    assert "cannot be started" in end_of(starts, starts.start([])).problem


def test_old_starts_are_forgotten() -> None:
    starts = PaperStarts(Config(), ("/nowhere/python",))
    first = end_of(starts, starts.start([]))
    for _ in range(50):
        end_of(starts, starts.start([]))
    assert starts.start_of(first.id) is None
