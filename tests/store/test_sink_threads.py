"""A sink's reads and questions block their callers alone, and its abilities stay what they are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import gevent
import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import Keeping
from pumpwatch.sink_abilities import CountingSink, DroppingSink, KeepingSink
from pumpwatch.store.sink_threads import THREADS, off_hub

HERE = threading.get_native_id()


class BlockingSink:
    """Blocks in every method but `open`, as a client library in C does, until `gate` is open."""

    def __init__(self) -> None:
        self.gate, self.where = threading.Event(), dict[str, int]()

    def open(self) -> None:
        self.where["open"] = threading.get_native_id()

    def read(self, names: Sequence[Any], start_ns: int, end_ns: int, catalogue: Any) -> str:
        self._block("read")
        return f"{start_ns}..{end_ns} {catalogue}"

    def keeping(self) -> Keeping:
        self._block("keeping")
        return Keeping(run="first")

    def trouble(self) -> str:
        self._block("trouble")
        raise ServiceUnavailable("away")

    def _block(self, name: str) -> None:
        self.where[name] = threading.get_native_id()
        assert self.gate.wait(10)


def started(sink: BlockingSink, *names: str) -> None:
    with gevent.Timeout(10):
        while not set(names) <= sink.where.keys():
            gevent.sleep(0.001)


def test_reads_and_questions_run_in_threads_while_the_hub_goes_on() -> None:
    sink = BlockingSink()
    threaded = off_hub(sink)
    read = gevent.spawn(threaded.read, [], 1, 2, catalogue="names")
    trouble = gevent.spawn(threaded.trouble)
    started(sink, "read", "trouble")
    assert not read.ready() and not trouble.ready() and HERE not in sink.where.values()
    sink.gate.set()
    assert read.get(timeout=10) == "1..2 names"
    with pytest.raises(ServiceUnavailable, match="away"):
        trouble.get(timeout=10)


def test_queries_that_hang_do_not_delay_a_question() -> None:
    sink = BlockingSink()
    threaded = off_hub(sink)
    reads = [gevent.spawn(threaded.read, [], 1, 2, None) for _ in range(THREADS + 1)]
    keeping = gevent.spawn(threaded.keeping)  # type: ignore[attr-defined]
    started(sink, "keeping")
    sink.gate.set()
    assert keeping.get(timeout=10).run == "first"
    gevent.joinall(reads, timeout=10, raise_error=True)


def test_abilities_are_those_of_the_sink() -> None:
    threaded = off_hub(BlockingSink())  # type: ignore[arg-type]
    assert isinstance(threaded, KeepingSink)
    assert not isinstance(threaded, CountingSink) and not isinstance(threaded, DroppingSink)


def test_opening_stays_in_the_callers_thread() -> None:
    sink = BlockingSink()
    off_hub(sink).open()  # type: ignore[arg-type]
    assert sink.where == {"open": HERE}
