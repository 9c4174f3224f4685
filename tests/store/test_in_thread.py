"""A proxy calls methods in its pool's thread, while only the caller waits."""

from __future__ import annotations

import threading

import gevent
import pytest
from gevent.threadpool import ThreadPool

from pumpwatch.errors import StorageError
from pumpwatch.store.in_thread import in_thread


class Blocking:
    """Blocks until `gate` is open; `where` are the threads that called it."""

    name = "journal"

    def __init__(self) -> None:
        self.gate, self.where = threading.Event(), []

    def add(self, left: int, *, right: int = 0) -> int:
        self.where.append(threading.get_native_id())
        self.gate.wait(10)
        return left + right

    def fail(self) -> None:
        raise StorageError("disk full")


def test_a_call_blocks_its_caller_alone_and_runs_in_the_other_thread() -> None:
    target = Blocking()
    call = gevent.spawn(in_thread(target, ThreadPool(1)).add, 1, right=2)
    with gevent.Timeout(10):
        while not target.where:
            gevent.sleep(0.001)
    assert not call.ready() and target.where != [threading.get_native_id()]
    target.gate.set()
    assert call.get(timeout=10) == 3


def test_errors_and_attributes_come_through() -> None:
    proxy = in_thread(Blocking(), ThreadPool(1))
    assert proxy.name == "journal"
    with pytest.raises(StorageError, match="disk full"):
        proxy.fail()


def test_a_call_that_takes_too_long_is_an_error_and_goes_on() -> None:
    target = Blocking()
    with pytest.raises(StorageError, match="does not answer"):
        in_thread(target, ThreadPool(1), within_s=0.02, late="the ledger does not answer").add(1)
    target.gate.set()
