"""All simulated venues and boards, and the clock that drives them. `server` puts them on the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import gevent
from gevent import monkey
from gevent.event import Event

from pumpwatch.clock import Clock
from pumpwatch.errors import ConfigError
from pumpwatch.sim.board_dialect import BoardDialect
from pumpwatch.sim.burst import BurstSource
from pumpwatch.sim.client_connection import VenueContext
from pumpwatch.sim.client_limits import AddressLimits
from pumpwatch.sim.dialect import Coin, Dialect
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.market import SimulatedMarket, coins, spread
from pumpwatch.sim.notice_board import NoticeBoard
from pumpwatch.sim.options import SimOptions
from pumpwatch.sim.paced import Departures, PacedSource
from pumpwatch.sim.rows import SymbolTable
from pumpwatch.sim.source import LiveSource, SimSource
from pumpwatch.sim.tape import RecordingSource, tape_specs
from pumpwatch.sim.venue import SimVenue

JANITOR_S = 0.25
FLUSH_S = 1.0
DRAIN_S = 5.0
SLEEP = monkey.get_original("time", "sleep")
LONGEST_TURN_S = 0.005  # without a turn of the event loop, which reads what clients send
MODES = ("live", "burst", "paced", "tape")
Planned = tuple[float, Callable[[], Any]]  # seconds of trading, and the action at that time


class Simulation:
    """All venues, boards and the clock that drives them. planned: the scheduled actions, in order."""

    def __init__(self, options: SimOptions, dialects: Sequence[Dialect | BoardDialect], clock: Clock | None = None) -> None:
        self.options = options
        self.clock = clock or Clock()
        self.folder = Path(options.folder)
        chosen = [dialect for dialect in dialects if isinstance(dialect, Dialect)
                  and dialect.name in (options.venues or [dialect.name])]
        missing = set(options.venues) - {dialect.name for dialect in chosen}
        if missing or not chosen:
            raise ConfigError(f"no simulator plugin speaks as {', '.join(sorted(missing)) or 'any venue'}",
                              f"known: {', '.join(dialect.name for dialect in dialects)}")
        if options.mode not in MODES:
            raise ConfigError(f"simulation: no mode `{options.mode}`", f"known: {', '.join(MODES)}")
        listed = spread(options.roster, [dialect.listed for dialect in chosen]) if options.roster else []
        self.coins = _coins(max(listed, default=0) or options.symbols)
        tables = [self.table(dialect, count) for dialect, count in zip_longest(chosen, listed)]
        names = [(dialect.name, table.symbols) for dialect, table in zip(chosen, tables, strict=True)]
        self.truth = TruthWriter(self.folder if options.truth else None, names, {"seed": options.seed})
        self._address_limits: dict[str, AddressLimits] = {}
        self.venues = {dialect.name: self._venue(number, dialect, tables[number]) for number, dialect in enumerate(chosen)}
        self.boards = {dialect.name: NoticeBoard(dialect, self.clock, self.truth, options.seed)
                       for dialect in dialects if isinstance(dialect, BoardDialect)}
        for board in self.boards.values():
            board.posts = list(board.dialect.seed(self.clock.now_ns(), self.coins))
        self._departures = Departures()
        self.sources: list[SimSource] = [self.source(venue) for venue in self.venues.values()]
        self.planned: list[Planned] = []
        self.stopping = Event()
        self.running = False
        self._turn_at = 0.0  # when the event loop last had a turn
        self.traded_s = self.late_s = 0.0

    def _venue(self, number: int, dialect: Dialect, table: SymbolTable) -> SimVenue:
        options = self.options
        try:
            rules = dataclasses.replace(dialect.rules, **{**options.rules.get("all", {}), **options.rules.get(dialect.name, {})})
        except TypeError as error:
            raise ConfigError(f"rules of {dialect.name}: {error}") from error
        shares = options.flag_shares.get(dialect.name)
        flags = dialect.flag_shares if shares is None else {int(flag): share for flag, share in shares.items()}
        market = SimulatedMarket(table, [options.seed, number], first_id=dialect.first_id, unit_ns=dialect.timestamp_unit_ns,
                                 flag_shares=flags)
        counted_as = dialect.exchange if rules.shared_by_markets else dialect.name
        limits = self._address_limits.setdefault(counted_as, AddressLimits(self.clock))
        context = VenueContext(number, dialect, rules, table, self.history(dialect, table), self.truth, self.clock)
        return SimVenue(context, market, limits, backlog_bytes=options.backlog_bytes, lag_s=options.lag_s)

    def history(self, dialect: Dialect, table: SymbolTable) -> TradeHistory:
        """Return the empty history of a venue."""
        return TradeHistory(table, self.options.history_trades)

    def table(self, dialect: Dialect, count: int | None) -> SymbolTable:
        """Return the symbols of a venue: those of the first `count` coins, or of all for None."""
        if self.options.mode == "tape":
            return SymbolTable(tape_specs(dialect, self.options.tape.files.get(dialect.name, [])))
        return SymbolTable(dialect.symbols(self.coins[:count]))

    def source(self, venue: SimVenue) -> SimSource:
        """Return the source of a venue's trades."""
        shares = self.options.shares
        rate = self.options.rate * shares.get(venue.name, 1 / len(self.venues) if not shares else 0.0)
        if self.options.mode in ("burst", "paced") and venue.dialect.stamps:
            lap_trades = self.options.lap_trades // len(self.venues)
            if self.options.mode == "paced":
                return PacedSource(venue, rate, lap_trades, self._departures)
            return BurstSource(venue, rate, lap_trades)
        if self.options.mode == "tape":
            return RecordingSource(venue, self.options.tape)
        return LiveSource(venue, rate)

    def run(self) -> None:
        """Trade until `stopping` is set."""
        janitor = gevent.spawn(self._clean_up)
        self.running = not self.options.paused
        try:
            self._trade()
        finally:
            janitor.kill()

    def close(self) -> None:
        """End every connection and write the rest of the ground truth. Call it when no new connection can come."""
        for venue in self.venues.values():
            for connection in list(venue.connections.values()):
                connection.drop("simulation ended")
        self.truth.close()

    def resume(self, rate: float | None = None) -> None:
        """Trade again, with `rate` trades a second in all if it is given."""
        if rate is not None:
            total = sum(source.rate for source in self.sources) or 1.0
            for source in self.sources:
                source.rate *= rate / total
        for source in self.sources:
            source.prepare()
        self.running = True

    def pause(self) -> None:
        """Stop trading; connections stay open and pings go on."""
        self.running = False
        self.truth.flush()
        self.truth.event("paused")

    def stop_after_trading(self) -> None:
        """Wait until the options' `seconds` of trading are over, then set `stopping`.

        Queued frames have DRAIN_S to leave.
        """
        while self.traded_s < self.options.seconds:
            gevent.sleep(JANITOR_S)
        deadline = self.clock.monotonic() + DRAIN_S
        streams = [connection.stream for venue in self.venues.values() for connection in venue.connections.values()]
        while any(stream.queued for stream in streams) and self.clock.monotonic() < deadline:
            gevent.sleep(JANITOR_S)
        self.stopping.set()

    def _trade(self) -> None:
        tick = self.options.tick_ms / 1000
        last, last_ns = self.clock.monotonic(), self.clock.now_ns()
        following = last + tick
        trading = False
        while not self.stopping.is_set():
            self._wait(following)
            now, now_ns = self.clock.monotonic(), self.clock.now_ns()
            late = now - following
            following = max(following + tick, now)
            seconds, from_ns, last, last_ns = now - last, last_ns, now, now_ns
            if not self.running or not trading:
                trading = self.running
                continue
            self.late_s = max(self.late_s, late)
            limit = self.options.seconds
            if limit:
                seconds = min(seconds, limit - self.traded_s)
            self.traded_s += seconds
            while self.planned and self.planned[0][0] <= self.traded_s:
                self.planned.pop(0)[1]()
            for source in self.sources:
                source.advance(seconds, from_ns, now_ns)
            if 0 < limit <= self.traded_s or all(source.finished() for source in self.sources):
                self.pause()

    def _wait(self, until: float) -> None:
        """Sleep until a moment. Mode paced sleeps outside the event loop between its turns, because that is more precise."""
        now = self.clock.monotonic()
        if self.options.mode == "paced" and self.running and now - self._turn_at < LONGEST_TURN_S:
            SLEEP(max(until - now, 0.0))
            return
        gevent.sleep(max(until - now, 0.0001))
        self._turn_at = self.clock.monotonic()

    def _clean_up(self) -> None:
        """Enforce the time limits of every connection, and write the ground truth."""
        flushed = 0.0
        while True:
            gevent.sleep(JANITOR_S)
            now = self.clock.monotonic()
            for venue in self.venues.values():
                for connection in list(venue.connections.values()):
                    connection.enforce_time_limits(now)
            if now - flushed >= FLUSH_S:
                self.truth.flush()
                flushed = now


def _coins(wanted: int | list[str]) -> list[Coin]:
    if isinstance(wanted, int):
        return coins(wanted)
    known = {coin.name: coin for coin in coins(1000)}
    return [known.get(name) or Coin(name, 1.0, name) for name in wanted]
