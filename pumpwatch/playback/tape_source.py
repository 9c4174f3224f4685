"""The parts of a playback that follow its clock: the trades of a venue, the notices, and the pace of `--speed max`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pumpwatch.playback.tape_clock import TapeClock
from pumpwatch.playback.tape_history import TapeHistory
from pumpwatch.playback.tape_rows import VenueTape
from pumpwatch.sim.board_dialect import Post
from pumpwatch.sim.notice_board import NoticeBoard
from pumpwatch.sim.venue import SimVenue

STEP_TRADES = 2_000  # trades that `--speed max` sends before it checks the clients' queues again
QUEUE_BYTES = 262_144  # of one client, above which `--speed max` waits


class ByTheClock:
    """The base of these parts: only the clock decides what is due, and nothing is late."""

    rate = 0.0

    def prepare(self) -> None:
        """Do nothing: `begin` makes a part ready."""

    def behind(self) -> int:
        """Return 0."""
        return 0


class VenueTapeSource(ByTheClock):
    """Sends a venue's tape as its trades are due."""

    def __init__(self, venue: SimVenue, recorded: VenueTape, history: TapeHistory) -> None:
        self.recorded = recorded
        self.next = 0
        self._venue, self._history = venue, history
        self._tape = recorded

    def __len__(self) -> int:
        return len(self.recorded.rows)

    def begin(self, from_ns: int, shift_ns: int) -> None:
        """Start at a time of the tape; what arrived before it is in the history."""
        self._tape = self.recorded.shifted(shift_ns)
        self.next = int(np.searchsorted(self.recorded.arrived_at, from_ns))
        self._history.begin(self._tape, self.next)

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Send the trades that arrived before or at `to_ns`."""
        end = int(np.searchsorted(self._tape.arrived_at, to_ns, side="right"))
        if end > self.next:
            rows = self._tape.rows.take(slice(self.next, end))
            self.next = end
            self._venue.deliver(rows)

    def finished(self) -> bool:
        """Return whether the tape has ended."""
        return self.next >= len(self)


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A notice of the tape: the board, the post with its times in the tape, and when it is shown (ns)."""

    board: NoticeBoard
    post: Post
    at_ns: int


class TapeNoticeSource(ByTheClock):
    """Shows the notices when they are due."""

    def __init__(self, notices: Iterable[DueNotice], coin: str) -> None:
        self.notices: Sequence[DueNotice] = sorted(notices, key=lambda notice: notice.at_ns)
        self._coin, self._shift_ns = coin, 0
        self.next = 0

    def begin(self, shift_ns: int) -> None:
        """Remove the notices of the tape from the boards, including those shown in an earlier round."""
        self.next, self._shift_ns = 0, shift_ns
        for notice in self.notices:
            notice.board.posts = [post for post in notice.board.posts
                                  if post.number != notice.post.number and post.title != notice.post.title]

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Show the notices that are due."""
        while self.next < len(self.notices) and self.notices[self.next].at_ns + self._shift_ns <= to_ns:
            notice = self.notices[self.next]
            self.next += 1
            post = notice.post
            notice.board.add(Post(
                number=post.number, uuid=post.uuid, title=post.title, category=post.category, body=post.body,
                first_listed_at_ns=post.first_listed_at_ns + self._shift_ns,
                listed_at_ns=post.listed_at_ns + self._shift_ns), self._coin)

    def finished(self) -> bool:
        """Return whether every notice has been shown."""
        return self.next >= len(self.notices)


class ClientPace(ByTheClock):
    """Moves the clock of a playback as fast as its clients take the trades. At other speeds the clock moves by itself."""

    def __init__(self, clock: TapeClock, venues: Sequence[SimVenue], sources: Sequence[VenueTapeSource], last_ns: int) -> None:
        self._clock, self._venues, self._sources, self._last_ns = clock, venues, sources, last_ns
        arrivals = [source.recorded.arrived_at for source in sources]
        self._arrivals = np.sort(np.concatenate(arrivals)) if arrivals else np.empty(0, np.int64)

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Move the clock over the next trades, unless a client is behind."""
        if any(connection.stream.queued > QUEUE_BYTES for venue in self._venues for connection in venue.connections.values()):
            return
        place = int(np.searchsorted(self._arrivals, self._clock.tape_ns, side="right")) + STEP_TRADES
        self._clock.move_to(int(self._arrivals[place]) if place < len(self._arrivals) else self._last_ns)

    def finished(self) -> bool:
        """Return whether the tape is over."""
        return self._clock.tape_ns >= self._last_ns
