"""The last read of a connection that is about to be closed."""

from __future__ import annotations

from pumpwatch.clock import FakeClock
from pumpwatch.net.sweep import LAST_READS, Sweep
from pumpwatch.stats import Stats


class Arriving:
    """A connection on which so many reads find something; `breaks` says in which one it fails, 0 in none."""

    def __init__(self, reads: int, breaks: int = 0) -> None:
        self.left, self.breaks, self.reads = reads, breaks, 0
        self.bytes_read, self.closed, self.name = 0, "", "venue#0"

    def sweep(self, now_ns: int) -> None:
        self.reads += 1
        if self.reads == self.breaks:
            raise OSError("broken")
        self.bytes_read += self.left > 0
        self.left -= 1

    def close(self, reason: str, code: int = 1000) -> None:
        self.closed = reason


def drained(connection: Arriving) -> Arriving:
    Sweep(FakeClock(), Stats(), 0.01, 0.001, 1 << 20).drain(connection)  # type: ignore[arg-type]
    return connection


def test_a_connection_is_read_until_nothing_is_there():
    assert drained(Arriving(5)).reads == 6


def test_one_that_never_ends_and_one_that_breaks_hold_up_nothing():
    assert drained(Arriving(10**6)).reads == LAST_READS
    broken = drained(Arriving(5, breaks=3))
    assert broken.reads == 3 and "broken" in broken.closed
