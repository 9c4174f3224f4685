"""Read a board's list once after each connect of the source that pushes its notices.

A connection that was cut tells nothing of the notices that came meanwhile; the list has them. The read goes through the board's
own watch, so the two do not announce a notice twice, and a board that asked for patience gets it.
"""

from __future__ import annotations

from typing import Protocol

from gevent.event import Event

RETRY_S = 1.0


class Look(Protocol):
    """The part of a board's watch that is used here."""

    def look_now(self) -> bool:
        """Look once; return whether the source has answered since the call."""

    @property
    def rest_s(self) -> float:
        """Return for how many seconds the source is still left alone."""


class CatchUp:
    """Reads one list when `request` was called. `run` is the body of its greenlet."""

    def __init__(self, board: Look) -> None:
        self._board = board
        self._wake = Event()
        self._stopped = Event()

    def request(self) -> None:
        """Have the list read once from now on; a read that has begun before does not count."""
        self._wake.set()

    def run(self) -> None:
        """Read the list when asked to, until `stop`; a list that does not answer is read again until it does."""
        while True:
            self._wake.wait()
            if self._stopped.is_set():
                return
            self._wake.clear()
            while not self._stopped.is_set() and not self._board.look_now():
                self._stopped.wait(max(self._board.rest_s, RETRY_S))

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()
        self._wake.set()
