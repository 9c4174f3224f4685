"""A collector ends within a time, whatever hangs, and says what was not written."""

from __future__ import annotations

import logging
from typing import Any

import gevent
import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.app import closing
from pumpwatch.errors import EXIT_DISK, EXIT_OK, StorageError
from pumpwatch.records import Records


class Committer:
    """A committer with some trades that the journal has not taken."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting_trades = waiting

    def give_up(self) -> int:
        return self.waiting_trades

    def rest(self) -> Records:
        return Records()


class Journal:
    """A journal whose `close` and `leave` do what a test says."""

    def __init__(self, close: Any = lambda: None, leave: Any = lambda: None) -> None:
        self._close, self._leave = close, leave
        self.left: list[Records] = []

    def close(self, rest: Records) -> None:
        self._close()

    def leave(self, rest: Records) -> None:
        self._leave()
        self.left.append(rest)


def fail() -> None:
    raise StorageError("the disk is full")


def hang() -> None:
    gevent.monkey.get_original("time", "sleep")(0.3)


def test_a_journal_that_takes_everything_is_closed_with_exit_code_0() -> None:
    assert closing.close_journal(Committer(), Journal(), ThreadPool(1)) == EXIT_OK  # type: ignore[arg-type]


@pytest.mark.parametrize(("committer", "journal", "says"), [
    (Committer(7), Journal(), "trades lost at stop, the journal did not take them trades=7"),
    (Committer(), Journal(close=fail), "journal not closed cleanly reason=the disk is full")])
def test_trades_that_are_lost_and_a_full_disk_are_said(committer: Any, journal: Any, says: str,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    assert closing.close_journal(committer, journal, ThreadPool(1)) == EXIT_DISK
    assert says in caplog.text


def test_the_records_of_a_journal_that_hangs_are_kept_in_a_file(monkeypatch: pytest.MonkeyPatch,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(closing, "CLOSE_S", 0.1)
    journal = Journal(close=hang)
    assert closing.close_journal(Committer(), journal, ThreadPool(1)) == EXIT_DISK  # type: ignore[arg-type]
    assert len(journal.left) == 1 and "the next start recovers it" in caplog.text
    journal = Journal(close=hang, leave=fail)
    closing.close_journal(Committer(), journal, ThreadPool(1))  # type: ignore[arg-type]
    assert "records lost at stop, no file took them gaps=0" in caplog.text


def test_figures_that_cannot_be_written_end_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Status:
        def write(self, ended: bool) -> None:
            gevent.sleep(5)

    monkeypatch.setattr(closing, "CLOSE_S", 0.05)
    with caplog.at_level(logging.WARNING):
        closing.write_last_figures(Status())  # type: ignore[arg-type]
    assert "last figures not written" in caplog.text
