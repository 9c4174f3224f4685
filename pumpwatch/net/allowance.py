"""Limits the time and the bytes that the other side may take before it has answered.

Handshakes and REST answers are read under an allowance: one deadline for all steps, and a size limit for each step. Other
greenlets run after every read. A gevent timeout alone cannot guarantee that: a peer that sends fast enough never makes a
read wait, so the timer never fires.
"""

from __future__ import annotations

import time

import gevent

HEAD_BYTES = 65_536  # a status line with its headers
TLS_BYTES = 262_144  # a TLS handshake: OpenSSL itself takes 100 KiB of certificates at most
PAUSE_S = 0.0001  # gevent.sleep(0) would starve timers


class Overdue(TimeoutError):
    """One step, or all steps together, took too long; the text says which."""


class TooMuch(OSError):
    """A step received more bytes than it may; the text says which."""


class ReadAllowance:
    """Allows `seconds` for all steps together, and a number of bytes for each step.

    wait_s: the longest time without a byte; by default, whatever is left of `seconds`.
    """

    def __init__(self, seconds: float, wait_s: float | None = None) -> None:
        self._seconds, self._wait_s = seconds, wait_s
        self._until = time.monotonic() + seconds
        self._step, self._most_bytes, self._taken = "connecting", 0, 0

    def begin(self, step: str, most_bytes: int = 0) -> None:
        """Begin the next step; `step` is its name in errors, such as `its TLS handshake`."""
        self._step, self._most_bytes, self._taken = step, most_bytes, 0

    def left_s(self) -> float:
        """Return the seconds that the next wait may take. Raises Overdue when the time is up."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise self.overdue()
        return left if self._wait_s is None else min(left, self._wait_s)

    def overdue(self) -> Overdue:
        """Return the exception to raise after a wait of `left_s` without data."""
        if self._wait_s is not None and time.monotonic() < self._until:
            return Overdue(f"{self._step}: nothing came for {self._wait_s:g} s")
        return Overdue(f"{self._step} takes longer than {self._seconds:g} s")

    def spend(self, size: int) -> None:
        """Count received bytes and let other greenlets run. Raises TooMuch and Overdue."""
        self._taken += size
        if self._taken > self._most_bytes:
            raise TooMuch(f"{self._step} is larger than {self._most_bytes:,} bytes")
        self.let_others_run()

    def let_others_run(self) -> None:
        """Let other greenlets run. Raises Overdue when the time is up."""
        gevent.sleep(PAUSE_S)
        self.left_s()
