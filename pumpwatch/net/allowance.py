"""The time and the bytes that another side may take before it has answered.

Everything that is read before a connection is handed to the sweep, and every REST answer, is read under an allowance: it has
one deadline for all its steps and a size for each, and it lets others run whenever bytes have come. The last point is the
one that a timeout does not give: a side that sends fast enough never makes a read wait, so no timer of gevent ever fires.
"""

from __future__ import annotations

import time

import gevent

HEAD_BYTES = 65_536  # a status line with its headers
TLS_BYTES = 262_144  # a TLS handshake: OpenSSL itself takes 100 KiB of certificates at most
PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers


class Overdue(TimeoutError):
    """A step, or all of them together, took too long; the text says which."""


class TooMuch(OSError):
    """A step brought more bytes than it may; the text says which."""


class ReadAllowance:
    """`seconds` for everything, and for each step that is begun its own number of bytes.

    `wait_s` is the longest time without a byte; without it the rest of `seconds` is.
    """

    def __init__(self, seconds: float, wait_s: float | None = None) -> None:
        self._seconds, self._wait_s = seconds, wait_s
        self._until = time.monotonic() + seconds
        self._step, self._most_bytes, self._taken = "connecting", 0, 0

    def begin(self, step: str, most_bytes: int = 0) -> None:
        """Begin the next step, named as in `its TLS handshake`."""
        self._step, self._most_bytes, self._taken = step, most_bytes, 0

    def left_s(self) -> float:
        """Return how long the next wait may take. Raises Overdue when the time is up."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise self.overdue()
        return left if self._wait_s is None else min(left, self._wait_s)

    def overdue(self) -> Overdue:
        """Return what to raise after a wait of `left_s` was in vain."""
        if self._wait_s is not None and time.monotonic() < self._until:
            return Overdue(f"{self._step}: nothing came for {self._wait_s:g} s")
        return Overdue(f"{self._step} takes longer than {self._seconds:g} s")

    def spend(self, size: int) -> None:
        """Count bytes that have come and let others run. Raises TooMuch and Overdue."""
        self._taken += size
        if self._taken > self._most_bytes:
            raise TooMuch(f"{self._step} is larger than {self._most_bytes:,} bytes")
        self.rest()

    def rest(self) -> None:
        """Let others run. Raises Overdue when the time is up."""
        gevent.sleep(PAUSE_S)
        self.left_s()
