"""Play an archive: simulate its venues and boards with the trades, books and notices of the tape.

The simulator serves them, so clients see the exchanges' protocols, limits and rejections, with the recorded trades.
"""

from __future__ import annotations

import dataclasses
import itertools
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import gevent

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.playback.archived import Archived, ArchivedNotice, first_event_ns
from pumpwatch.playback.tape_clock import AS_FAST_AS_TAKEN, TapeClock
from pumpwatch.playback.tape_history import TapeHistory
from pumpwatch.playback.tape_rows import table_of, tape_of
from pumpwatch.playback.tape_source import ClientPace, DueNotice, TapeNoticeSource, VenueTapeSource
from pumpwatch.sim.board_dialect import BoardDialect, Post
from pumpwatch.sim.dialect import Dialect
from pumpwatch.sim.ground_truth import SENT
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.notice_board import NoticeBoard
from pumpwatch.sim.options import SimOptions
from pumpwatch.sim.rows import SymbolTable
from pumpwatch.sim.server import CONTROL, SimServer
from pumpwatch.sim.simulation import Simulation
from pumpwatch.sim.source import SimSource
from pumpwatch.sim.venue import SimVenue

LOOK_S = 0.1
GOOD_BYE_S = 10.0  # for clients that still read what they were sent
GOING_AWAY = (1001, "the tape is over")
DRAIN_S = 10.0  # without a byte taken by any client; then the rest is given up


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlayOptions:
    """The settings of a playback. lead_s: of the tape before the first announcement; None: from its first trade on.

    speed: of the recording, or AS_FAST_AS_TAKEN. detected: notices are shown when the recording collector saw them, not when
    the board says that they were published. wait_for: begin once clients have subscribed to trades of so many venues.
    """

    speed: float = 1.0
    recorded_times: bool = False
    lead_s: float | None = None
    wait_for: int = 0
    loop: bool = False
    detected: bool = False
    first_port: int = 0  # of consecutive ones; 0: any free ports
    folder: str = ""  # of the certificate authority; empty: a temporary one


@dataclasses.dataclass(frozen=True, slots=True)
class PlaybackProgress:
    """The progress of a playback. tape_s: seconds after the announcement. trades: played, out of `of`. sent: over all clients."""

    state: str  # waiting, playing, ended
    tape_s: float
    trades: int
    of: int
    sent: int
    clients: int
    notices: int


class Playback(Simulation):
    """A simulation of the venues of an archive for which there is a dialect."""

    def __init__(self, archived: Archived, options: PlayOptions, folder: str, dialects: Sequence[Dialect | BoardDialect]) -> None:
        spoken = {dialect.name for dialect in dialects if isinstance(dialect, Dialect)}
        self.archived, self.play_options = archived, options
        self.unspoken = [venue.name for venue in archived.venues if venue.name not in spoken]
        self._venues = {venue.name: venue for venue in archived.venues if venue.name in spoken}
        if not self._venues:
            raise ConfigError(f"{archived.path}: no simulator plugin speaks as {', '.join(self.unspoken)}",
                              "install the plugin of the exchange, with its dialect")
        self.from_ns = first_event_ns(archived)
        if options.lead_s is not None and archived.announced_at_ns:
            self.from_ns = archived.announced_at_ns - int(options.lead_s * NS_PER_S)
        self._histories: dict[str, TapeHistory] = {}
        self.tape_clock = TapeClock(Clock(), options.speed, self.from_ns if options.recorded_times else 0)
        boards = [dialect.name for dialect in dialects if isinstance(dialect, BoardDialect)]
        hosts = [*sorted(self._venues), *boards, CONTROL]
        ports = dict(zip(hosts, itertools.count(options.first_port))) if options.first_port else {}
        super().__init__(SimOptions(venues=list(self._venues), symbols=[archived.coin], folder=folder, ports=ports, truth=False,
                                    paused=True), dialects, self.tape_clock)
        self.tapes = [source for source in self.sources if isinstance(source, VenueTapeSource)]
        self.to_ns = max([self.from_ns, *(int(tape.recorded.arrived_at[-1]) for tape in self.tapes if len(tape))])
        self.notices = TapeNoticeSource(self._notices(), archived.coin)
        self.sources.append(self.notices)
        if options.speed == AS_FAST_AS_TAKEN:
            self.sources.append(ClientPace(self.tape_clock, list(self.venues.values()), self.tapes, self.to_ns))

    def table(self, dialect: Dialect, count: int | None) -> SymbolTable:
        """Return the coin's symbols on a venue."""
        return table_of(self._venues[dialect.name], self.archived.coin, dialect)

    def history(self, dialect: Dialect, table: SymbolTable) -> TradeHistory:
        """Return the empty history of a venue."""
        made = self._histories[dialect.name] = TapeHistory(table, max(1, len(self._venues[dialect.name])))
        return made

    def source(self, venue: SimVenue) -> SimSource:
        """Return the tape of a venue."""
        return VenueTapeSource(venue, tape_of(self._venues[venue.name], venue.table), self._histories[venue.name])

    def begin(self) -> None:
        """Play from the start."""
        self.tape_clock.start(self.from_ns, self.to_ns)
        for tape in self.tapes:
            tape.begin(self.from_ns, self.tape_clock.shift_ns)
        self.notices.begin(self.tape_clock.shift_ns)
        self.resume()

    def played(self) -> PlaybackProgress:
        """Return the progress."""
        self.truth.flush()
        at_ns = min(self.tape_clock.tape_ns, self.to_ns)
        state = "playing" if self.running else "ended" if at_ns else "waiting"
        return PlaybackProgress(state, (at_ns - self.archived.announced_at_ns) / NS_PER_S, sum(tape.next for tape in self.tapes),
                      sum(map(len, self.tapes)), self.truth.counts.get(SENT, 0),
                      sum(len(venue.connections) for venue in self.venues.values()), self.notices.next)

    def subscribed(self) -> int:
        """Return the number of venues on which a client has subscribed to trades."""
        return sum(any(connection.session.topics for connection in venue.connections.values()) for venue in self.venues.values())

    def _notices(self) -> Iterator[DueNotice]:
        """Yield the notices of the archive that have a board here, each once; without any, one in the board's usual words."""
        by_source: dict[str, NoticeBoard] = dict(self.boards)
        by_source |= {board.dialect.push.name: board for board in self.boards.values() if board.dialect.push is not None}
        found: dict[tuple[str, str], DueNotice] = {}
        for notice in self.archived.notices:
            board = by_source.get(notice.source)
            if board is not None:
                due = self._due(board, notice, len(found))
                known = found.setdefault((board.name, notice.notice_id), due)
                if not known.post.body and due.post.body:
                    known.post.body = due.post.body
        usual = next((board for board in self.boards.values() if board.dialect.default), None)
        if not any(due.post.category for due in found.values()) and usual is not None and self.archived.announced_at_ns:
            coin = self.coins[0]
            yield self._due(usual, ArchivedNotice("", "", "notice", usual.dialect.title(coin, ["KRW"], False),
                                                  self.archived.announced_at_ns, self.archived.announced_at_ns, "", "", ""), 0)
        yield from (due for due in found.values() if due.at_ns <= self.to_ns)

    def _due(self, board: NoticeBoard, notice: ArchivedNotice, place: int) -> DueNotice:
        market = notice.kind != "notice"
        when_seen = market or self.play_options.detected or not notice.published_at_ns
        at_ns = notice.seen_at_ns if when_seen else notice.published_at_ns
        listed_ns = 0 if market else notice.published_at_ns or at_ns
        number = int(notice.notice_id) if notice.notice_id.isdecimal() else max(
            (post.number for post in board.posts), default=0) + 1 + place
        return DueNotice(board, Post(number=number, uuid=notice.uuid or str(number), body=notice.body,
                                     title=notice.notice_id if market else notice.title,
                                     category="" if market else notice.category or board.dialect.category,
                                     first_listed_at_ns=listed_ns, listed_at_ns=listed_ns), at_ns)


def play(archived: Archived, options: PlayOptions, dialects: Sequence[Dialect | BoardDialect], *,
         listening: Callable[[dict[str, Any], Playback], None], progress: Callable[[PlaybackProgress], None]) -> PlaybackProgress:
    """Serve an archive until its tape is over and sent; with `loop` until SIGTERM or SIGINT. Return the final progress.

    listening: called with the addresses of `sim.server`. progress: called every LOOK_S. Raises ConfigError if no venue can be
    served, ServiceUnavailable for ports in use.
    """
    with tempfile.TemporaryDirectory(prefix="pumpwatch-replay-") if not options.folder else nullcontext(options.folder) as folder:
        replay = Playback(archived, options, folder, dialects)
        handlers = [gevent.signal_handler(number, replay.stopping.set) for number in (signal.SIGTERM, signal.SIGINT)]
        server = SimServer(replay)
        try:
            try:
                addresses = server.listen()
            except OSError as error:
                raise ServiceUnavailable(f"cannot listen on {replay.options.host}: {error.strerror or error}",
                                         "choose another first port, or omit it to use any free ports") from error
            listening(addresses, replay)
            conductor = gevent.spawn(_conduct, replay, progress)
            replay.run()
            conductor.kill()
        finally:
            server.stop()
            ended = replay.played()
            replay.close()
            for handler in handlers:
                handler.cancel()
    return ended


def _conduct(replay: Playback, progress: Callable[[PlaybackProgress], None]) -> None:
    """Begin once enough venues have subscribers, report the progress, and end the simulation after the tape."""
    options = replay.play_options
    while replay.subscribed() < min(options.wait_for, len(replay.venues)):
        progress(replay.played())
        gevent.sleep(LOOK_S)
    while True:
        replay.begin()
        while replay.running:
            progress(replay.played())
            gevent.sleep(LOOK_S)
        if not options.loop:
            break
    _drain(replay)
    progress(replay.played())
    _say_good_bye(replay)
    replay.stopping.set()


def _drain(replay: Playback) -> None:
    """Wait until the clients have taken everything, or none has taken a byte for DRAIN_S."""
    streams = [connection.stream for venue in replay.venues.values() for connection in venue.connections.values()]
    handed, since = -1, replay.clock.monotonic()
    while any(stream.queued and not stream.closed for stream in streams):
        now, total = replay.clock.monotonic(), sum(stream.handed for stream in streams)
        if total != handed:
            handed, since = total, now
        elif now - since > DRAIN_S:
            return
        gevent.sleep(LOOK_S)


def _say_good_bye(replay: Playback) -> None:
    """Close every connection like a venue that goes down, and give the clients GOOD_BYE_S to answer."""
    for venue in replay.venues.values():
        for connection in list(venue.connections.values()):
            connection.close(*GOING_AWAY, linger_s=GOOD_BYE_S)
    deadline = replay.clock.monotonic() + GOOD_BYE_S
    while any(venue.connections for venue in replay.venues.values()) and replay.clock.monotonic() < deadline:
        gevent.sleep(LOOK_S)
