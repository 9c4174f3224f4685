"""Read a board's list once after each connect of the source that pushes its notices.

Notices published while the connection was down are not pushed later, but they are in the list. The board's own watch reads it,
so that no notice is announced twice and a pause that the board asked for is kept.
"""

from __future__ import annotations

from typing import Protocol

from gevent.event import Event

RETRY_S = 1.0


class Look(Protocol):
    """The methods of a board's watch that are used here."""

    def look_now(self) -> bool:
        """Look once; return whether the source has answered since the call."""

    @property
    def rest_s(self) -> float:
        """Return how many seconds are left of the pause after a failure."""


class CatchUp:
    """Reads the list once after each `request`. `run` is the body of its greenlet."""

    def __init__(self, board: Look) -> None:
        self._board = board
        self._wake = Event()
        self._stopped = Event()

    def request(self) -> None:
        """Request a read of the list; a read that has begun before does not count."""
        self._wake.set()

    def run(self) -> None:
        """Read the list after each request, until `stop`; retry until the board answers."""
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
