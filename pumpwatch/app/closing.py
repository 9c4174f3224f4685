"""The end of a collector: close its journal and write its last figures, within a bounded time even if a disk hangs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.app.status import Status
from pumpwatch.errors import EXIT_DISK, EXIT_OK, StorageError
from pumpwatch.records import Records
from pumpwatch.store.committer import Committer
from pumpwatch.store.journal import Journal

log = logging.getLogger(__name__)

CLOSE_S = 2.0  # the limit of each step: close the journal, keep its last records if it hangs, write the last figures
T = TypeVar("T")


def close_journal(committer: Committer, journal: Journal, thread: ThreadPool) -> int:
    """Close the journal in its thread; return the exit code: EXIT_DISK if it did not take everything."""
    code = EXIT_OK
    if committer.waiting_trades:
        log.error("trades lost at stop, the journal did not take them trades=%d", committer.give_up())
        code = EXIT_DISK
    rest = committer.rest()
    try:
        within(CLOSE_S, thread, journal.close, rest)
    except StorageError as error:
        log.error("journal not closed cleanly reason=%s", error)
        code = EXIT_DISK
    except gevent.Timeout:
        log.error("journal not closed, the next start recovers it reason='no answer in %.0f s'", CLOSE_S)
        code = EXIT_DISK
        _keep_records(journal, rest)
    return code


def _keep_records(journal: Journal, rest: Records) -> None:
    """Write the last records to a file, because the journal's thread hangs."""
    try:
        within(CLOSE_S, ThreadPool(1), journal.leave, rest)
    except (StorageError, gevent.Timeout) as error:
        log.error("records lost at stop, no file took them gaps=%d quarantined=%d reason=%s", len(rest.gaps),
                  len(rest.quarantine), error)


def write_last_figures(status: Status) -> None:
    """Write `status.json` once more, with pid 0."""
    try:
        with gevent.Timeout(CLOSE_S):
            status.write(ended=True)
    except gevent.Timeout:
        log.warning("last figures not written reason='no answer in %.0f s'", CLOSE_S)


def within(seconds: float, thread: ThreadPool, function: Callable[..., T], /, *args: Any) -> T:
    """Call a function in a thread and return its result. Raises gevent.Timeout after `seconds`; the call may go on."""
    with gevent.Timeout(seconds):
        result: T = thread.apply(function, args)
        return result
