"""Finds symbols that are granted and silent although they trade.

A venue may grant a subscription and then send nothing: the stream has moved to another path, or a server has lost the symbol.
The connection then looks like an inactive market. A symbol that is silent for longer than expected is therefore looked up in
the venue's own trade history (REST), one symbol at a time, the most overdue first. Only trades in that history that never
arrived prove a silence. A proven silence is logged once, is a gap until a trade comes, and is repaired: the symbol is subscribed
again, then on another connection. A connection without any trade is reopened.

The expected silence is four times the symbol's own longest one (staleness.py). Before that is known, it follows from the
symbol's share of the venue's volume and the trades of its neighbours, and is half an hour at most; without a volume it is ten
minutes. On a connection that never had a trade it is half the venue's `stale_after_s`, so that the connection is checked
before it is given up.

A history that shows nothing new, or is unavailable, doubles the time until the symbol's next check.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import gevent
import numpy as np
from gevent.event import Event
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.feeds.feed import Feed
from pumpwatch.feeds.session import FeedContext
from pumpwatch.feeds.staleness import NEVER_TRADED, Staleness
from pumpwatch.model import Columns, Gap, Int64
from pumpwatch.net.texts import masked, one_line
from pumpwatch.records import ConnectionEvent, Records
from pumpwatch.venue import HistoryQuery

log = logging.getLogger(__name__)

DAY_S = 86_400.0
USUAL_TRADE = 2_000.0  # in the quote currency; until the venue's own trades are known
UNLIKELY = 30.0  # times the mean time between trades
UNKNOWN_S, LONGEST_S = 600.0, 1800.0  # silence before a history is requested: with unknown volume, and with any known volume
PROOF = 2  # trades that never came; a single one may be of a kind that the stream omits
FAILURES, PAUSE_S = 3, 60.0  # failed history requests in a row, and the pause after each further one
REPAIRED_S = 600.0  # a symbol that traded for this long is repaired
REVIEW_S = 60.0  # a symbol without a trade is judged again after this time, because its volume may have changed
MORE_TRADES = 1.1  # all symbols are judged again when the venue has this many times as many trades
LONGEST_TURN_S, SHORTEST_PAUSE_S = 0.002, 0.0001  # the look pauses after each turn, so that sockets are read

LastTimes = Callable[[NDArray[np.int32]], Int64]  # instruments -> times of their last trades, 0: none yet


class Connections(Protocol):
    """The part of the venue's feeds that the watch uses."""

    @property
    def feeds(self) -> Sequence[Feed]:
        """The feed of each place; a symbol is silent if neither its connection nor the double brings trades."""

    def move(self, symbol: str) -> None:
        """Read this symbol on another connection."""


@dataclass(slots=True)
class WatchedSymbol:
    """The state of one symbol. Times are in ns; those of trades are the venue's, the others ours."""

    staleness: Staleness
    established_at_ns: int = 0  # of the connection on which it is granted
    since_ns: int = 0  # it was not granted there before
    seen_ns: int = 0  # it was granted there by then
    traded_ns: int = 0  # the time of its last trade
    silent_from_ns: int = 0  # 0: it is not known to be silent
    repairs: int = 0  # attempts
    repaired_at: float = -math.inf  # monotonic seconds

    def begin(self, now: float, now_ns: int, since_ns: int, traded_ns: int) -> None:
        """Record that the symbol is granted, since some moment after `since_ns`."""
        self.staleness.resume(now, traded_ns)
        self.since_ns, self.seen_ns, self.traded_ns = since_ns, now_ns, traded_ns


class WatchedConnection:
    """The granted symbols of one connection as they were at the last look, as columns."""

    def __init__(self, feed: Feed, ids: Mapping[str, int]) -> None:
        self.established_at_ns, self.granted = feed.established_at_ns, set(feed.granted)
        self.symbols = [symbol for symbol in feed.granted if symbol in ids]
        self.ids = np.array([ids[symbol] for symbol in self.symbols], np.int32)
        self.traded_ns = np.full(len(self.symbols), -1, np.int64)
        self.judge_at = np.full(len(self.symbols), -math.inf)  # monotonic seconds; a symbol is judged earlier if it trades
        self.trades = (False, False)  # whether the connection has had trades, and whether their absence is too long
        self.per_value = 0.0  # trades a second for a volume of 1, as the symbols were judged by

    def matches(self, feed: Feed) -> bool:
        """Return whether the same symbols are granted on the same connection."""
        return (self.established_at_ns == feed.established_at_ns and self.granted == feed.granted
                and len(self.symbols) == len(self.granted))


@dataclass(frozen=True, slots=True)
class OverdueSymbol:
    """A symbol that has been silent for too long. The one with the largest weight is checked first."""

    symbol: str
    watched: WatchedSymbol
    feed: Feed
    weight: tuple[float, float]


class SilentSymbolWatch:
    """Watches one venue's symbols. `run` is the body of a supervised greenlet; it ends when `stopping` is set."""

    def __init__(self, context: FeedContext, connections: Connections, catalogue: Catalogue, last_times: LastTimes,
                 stopping: Event) -> None:
        self._context, self._connections, self._catalogue = context, connections, catalogue
        self._last_times, self._stopping = last_times, stopping
        venue = context.venue
        self._ids: Mapping[str, int] = catalogue.ids_of((venue.exchange, venue.market_type))
        self._watched: dict[str, WatchedSymbol] = {}
        self._columns: dict[int, WatchedConnection] = {}  # by the connection's number
        # Silent connection -> when it came up, the beginning of its gap, and the gap's symbols.
        self._silent: dict[int, tuple[int, int, tuple[str, ...]]] = {}
        self._began = context.clock.monotonic()
        self._looked_at_ns = 0
        self._examine_at = -math.inf
        self._failures = 0
        self.look_s = Staleness(venue.stale_after_s).look_s

    @property
    def silent(self) -> list[str]:
        """The symbols known to be silent, and all symbols of silent connections."""
        alone = {symbol for symbol, watched in self._watched.items() if watched.silent_from_ns}
        return sorted(alone.union(*(feed.symbols for feed in self._connections.feeds if feed.number in self._silent)))

    def leave(self, symbols: Collection[str]) -> None:
        """Stop watching symbols that another collector reads now; their recorded gaps stay."""
        now_ns = self._context.clock.now_ns()
        for symbol in symbols:
            self._watched.pop(symbol, None)
        for number, (established_at_ns, _, silent) in list(self._silent.items()):
            rest = tuple(symbol for symbol in silent if symbol not in symbols)
            if rest != silent:
                self._silent[number] = established_at_ns, now_ns - self._context.slack_ns(), rest

    def run(self) -> None:
        """Look for silent symbols until stopped; histories are requested meanwhile, one at a time."""
        examination: gevent.Greenlet[..., None] | None = None
        try:
            while not self._stopping.wait(self.look_s):
                overdue: list[OverdueSymbol] = []
                began = time.monotonic()
                for found in self.looks():
                    overdue += found
                    if time.monotonic() - began > LONGEST_TURN_S:
                        gevent.sleep(SHORTEST_PAUSE_S)
                        began = time.monotonic()
                if examination is not None and examination.ready():
                    examination.get()  # raises the error of an examination that failed
                    examination = None
                if examination is None and overdue:
                    examination = gevent.spawn(self.examine, overdue)
        finally:
            if examination is not None:
                examination.kill(block=False)

    def looks(self) -> Iterator[list[OverdueSymbol]]:
        """Find out which symbols have traded, one connection at a time; yield those that are silent for too long."""
        now, now_ns = self._context.clock.monotonic(), self._context.clock.now_ns()
        wanted = set[str]().union(*(feed.symbols for feed in self._connections.feeds))
        for symbol in self._watched.keys() - wanted:
            del self._watched[symbol]
        recovered = self._follow_connections(now_ns)
        self._follow_symbols(now, now_ns)
        per_value = self._trades_per_value(now)
        for feed in list(self._connections.feeds):
            if feed.established_at_ns:
                yield self._look_at(feed, feed.number in recovered, per_value, now, now_ns)
        self._looked_at_ns = now_ns

    def _look_at(self, feed: Feed, recovered: bool, per_value: float, now: float, now_ns: int) -> list[OverdueSymbol]:
        columns = self._columns.get(feed.number)
        if columns is None or recovered or not columns.matches(feed):
            columns = self._columns[feed.number] = WatchedConnection(feed, self._ids)
        trades = bool(feed.traded_at_ns), feed.without_trades(now)
        if trades != columns.trades or per_value > MORE_TRADES * columns.per_value:
            columns.trades, columns.per_value = trades, per_value
            columns.judge_at.fill(-math.inf)
        times = self._last_times(columns.ids)
        due = np.flatnonzero((times != columns.traded_ns) | (columns.judge_at <= now)).tolist()
        since_ns = max(feed.established_at_ns, feed.traded_at_ns if recovered else self._looked_at_ns)
        slack_ns = self._context.slack_ns() if due else 0
        overdue = []
        for row in due:
            symbol, traded_ns = columns.symbols[row], int(times[row])
            watched = self._watched.get(symbol)
            if watched is None:
                watched = self._watched[symbol] = WatchedSymbol(Staleness(self._context.venue.stale_after_s))
            if watched.established_at_ns != feed.established_at_ns or recovered:
                watched.established_at_ns = feed.established_at_ns
                watched.begin(now, now_ns, since_ns, traded_ns)
                continue
            if not watched.silent_from_ns and traded_ns > watched.since_ns - slack_ns:
                watched.staleness.look(now, traded_ns)  # older ones are sent again on subscribing, and prove nothing
                watched.traded_ns = traded_ns
            volume = self._catalogue.instruments[int(columns.ids[row])].volume
            allowed_s = self._allowed_s(watched, columns.trades, volume * per_value)
            silent_s = watched.staleness.silent_s(now)
            if silent_s > allowed_s:
                overdue.append(OverdueSymbol(symbol, watched, feed, (silent_s / allowed_s, volume)))
            elif not watched.silent_from_ns and watched.staleness.traded_at_ns == traded_ns:
                columns.traded_ns[row] = traded_ns
                columns.judge_at[row] = now + min(REVIEW_S, allowed_s - silent_s)
        return overdue

    def _allowed_s(self, watched: WatchedSymbol, trades: tuple[bool, bool], per_second: float) -> float:
        """Return how long the symbol may be silent; per_second: the trades that its volume makes likely, 0: unknown."""
        connection_trades, overdue = trades
        if watched.silent_from_ns:
            return watched.staleness.stale_s
        if connection_trades:
            return watched.staleness.patience_s(min(UNLIKELY / per_second, LONGEST_S) if per_second else UNKNOWN_S)
        return NEVER_TRADED * watched.staleness.stale_s if overdue else math.inf

    def _traded(self, symbols: Sequence[str]) -> list[int]:
        times: list[int] = self._last_times(np.array([self._ids[symbol] for symbol in symbols], np.int32)).tolist()
        return times

    def _trades_per_value(self, now: float) -> float:
        """Return how many trades a second the venue has for a quote volume of 1 a day."""
        venue = self._context.venue
        trades = self._context.stats.get("trades_total", venue=venue.name)
        volume = sum(self._catalogue.instruments[self._ids[symbol]].volume for symbol in self._watched)
        if not trades or not volume or now - self._began < venue.stale_after_s:
            return 1 / USUAL_TRADE / DAY_S
        return trades / (now - self._began) / volume

    def examine(self, overdue: Sequence[OverdueSymbol]) -> None:
        """Check the most overdue symbol against the venue's history: is it silent, or is the market inactive?"""
        clock, stats, venue = self._context.clock, self._context.stats, self._context.venue
        now = clock.monotonic()
        if not overdue or now < self._examine_at:
            return
        chosen = max(overdue, key=lambda found: found.weight)
        watched, feed = chosen.watched, chosen.feed
        stats.add("silence_checks_total", venue=venue.name)
        try:
            missed = self._missed(chosen.symbol, max(watched.traded_ns, watched.seen_ns) + self._context.slack_ns())
        except (ServiceUnavailable, *REFUSALS) as error:
            self._no_history(chosen.symbol, watched, error)
            return
        self._failures = 0
        if not self._still_overdue(chosen):
            return
        if len(missed) < PROOF:
            watched.staleness.record_false_alarm()
        elif self._nothing_came(feed, int(missed.min())):
            self._connect_again(chosen, f"{chosen.symbol} has traded {len(missed)} times by the venue's own history")
        else:
            self._subscribe_again(chosen, len(missed))

    def _still_overdue(self, chosen: OverdueSymbol) -> bool:
        """Return whether nothing changed while the answer was on its way: no trade, no reconnect, no rejection."""
        watched, feed, symbol = chosen.watched, chosen.feed, chosen.symbol
        return (self._watched.get(symbol) is watched and symbol in feed.symbols and symbol in feed.granted
                and watched.established_at_ns == feed.established_at_ns
                and self._traded([symbol])[0] <= max(watched.traded_ns, watched.seen_ns))

    def _missed(self, symbol: str, after_ns: int) -> Int64:
        """Return the times of the trades after `after_ns` that should have arrived by now."""
        venue, now_ns = self._context.venue, self._context.clock.now_ns()
        reach_s = min(DAY_S, venue.history.window_s)  # venues answer for a limited time
        start_ns = max(after_ns, now_ns - int(reach_s * NS_PER_S))
        body = self._context.ask(venue.history_request(HistoryQuery(symbol, start_ns, now_ns)))
        columns = Columns()
        venue.parse_history(body, symbol, columns)
        times = np.array(columns.timestamp, np.int64) * venue.timestamp_unit_ns
        found: Int64 = times[(times > start_ns) & (times < now_ns - int(self.look_s * NS_PER_S) - self._context.slack_ns())]
        return found

    def _no_history(self, symbol: str, watched: WatchedSymbol, error: Exception) -> None:
        """Postpone this symbol's next check; after several failures in a row pause all checks, and log it."""
        watched.staleness.record_false_alarm()
        self._failures += 1
        self._context.stats.add("silence_checks_failed_total", venue=self._context.venue.name)
        if self._failures >= FAILURES:
            self._examine_at = self._context.clock.monotonic() + PAUSE_S
        if self._failures == FAILURES:
            log.warning("silent symbols cannot be checked, the history is unavailable venue=%s symbol=%s reason=%s",
                        self._context.venue.name, symbol, one_line(str(error), 200))

    def _nothing_came(self, feed: Feed, missed_ns: int) -> bool:
        """Return whether the whole connection has been silent since the first trade that never came."""
        newest_ns = max(self._traded([symbol for symbol in feed.granted if symbol in self._ids]), default=0)
        silent_ns = self._context.clock.now_ns() - max(feed.traded_at_ns, feed.established_at_ns)
        return newest_ns < missed_ns and silent_ns > NEVER_TRADED * self._context.venue.stale_after_s * NS_PER_S

    def _connect_again(self, chosen: OverdueSymbol, reason: str) -> None:
        venue, feed = self._context.venue, chosen.feed
        if feed.number not in self._silent:
            log.warning("subscribed and silent, connecting again venue=%s connection=%d symbols=%d ws_url=%s reason=nothing "
                        "came, although %s; if this does not help, check whether the venue's address has changed",
                        venue.name, feed.number, len(feed.symbols), masked(self._context.ws_url), reason)
            self._context.stats.add("silent_connections_total", venue=venue.name)
        self._silent.setdefault(feed.number, (0, 0, ()))
        feed.leave(f"subscribed and silent: {reason}")

    def _subscribe_again(self, chosen: OverdueSymbol, missed: int) -> None:
        watched, context, feed, symbol = chosen.watched, self._context, chosen.feed, chosen.symbol
        now, now_ns = context.clock.monotonic(), context.clock.now_ns()
        if watched.silent_from_ns:
            watched.staleness.record_false_alarm()
        else:
            watched.staleness.reset_patience()
            watched.silent_from_ns = max(watched.traded_ns, watched.since_ns - context.slack_ns())
            watched.repairs *= now - watched.repaired_at < REPAIRED_S
            reason = f"{symbol}: subscribed and silent: {missed} trades of the venue's own history never came"
            log.warning("subscribed and silent, subscribing again venue=%s connection=%d symbol=%s reason=%d trades of the "
                        "venue's own history never came", context.venue.name, feed.number, symbol, missed)
            context.stats.add("silent_symbols_total", venue=context.venue.name)
            context.record(Records(connection_events=[ConnectionEvent(
                at_ns=now_ns, exchange=context.venue.exchange, market_type=context.venue.market_type,
                connection=feed.number, event="silent", reason=reason)]))
        self._record_gap(symbol, watched.silent_from_ns, self._ahead_ns(now_ns))
        watched.repairs += 1
        watched.begin(now, now_ns, watched.since_ns, watched.traded_ns)
        if watched.repairs % 2:
            feed.subscribe_again(symbol)
            if feed.double:
                feed.double.subscribe_again(symbol)
        else:
            self._connections.move(symbol)

    def _follow_connections(self, now_ns: int) -> set[int]:
        """Extend the gaps of silent connections until a trade ends them; return the connections with such a trade."""
        recovered = set()
        for feed in self._connections.feeds:
            established_at_ns = feed.established_at_ns
            if feed.number not in self._silent or not established_at_ns:
                continue
            if self._silent[feed.number][0] != established_at_ns:  # the time before is in the gap of the previous connection
                from_ns = established_at_ns - self._context.slack_ns()
                beside = feed.double.reads(feed.symbols, from_ns) if feed.double else set()
                self._silent[feed.number] = established_at_ns, from_ns, tuple(sorted(feed.symbols - beside))
            trades = feed.traded_at_ns > established_at_ns
            _, from_ns, symbols = self._silent[feed.number]
            if symbols:
                self._record_gap("", from_ns, feed.traded_at_ns if trades else self._ahead_ns(now_ns), feed.number, symbols)
            if trades:
                log.info("trades come again venue=%s connection=%d", self._context.venue.name, feed.number)
                recovered.add(feed.number)
                del self._silent[feed.number]
        return recovered

    def _follow_symbols(self, now: float, now_ns: int) -> None:
        """Extend the gaps of silent symbols until a trade after the last repair ends them."""
        silent = {symbol: watched for symbol, watched in self._watched.items() if watched.silent_from_ns}
        for (symbol, watched), traded_ns in zip(silent.items(), self._traded(list(silent)), strict=True):
            if traded_ns > max(watched.traded_ns, watched.seen_ns):
                self._record_gap(symbol, watched.silent_from_ns, traded_ns)
                log.info("trades come again venue=%s symbol=%s", self._context.venue.name, symbol)
                watched.silent_from_ns, watched.repaired_at = 0, now
            else:
                self._record_gap(symbol, watched.silent_from_ns, self._ahead_ns(now_ns))

    def _ahead_ns(self, now_ns: int) -> int:
        """Return the end of a growing gap as it is recorded: late enough to cover a kill before the next look."""
        return now_ns + 2 * int(self.look_s * NS_PER_S)

    def _record_gap(self, symbol: str, from_ns: int, to_ns: int, connection: int = -1, symbols: tuple[str, ...] = ()) -> None:
        venue = self._context.venue
        self._context.record(Records(gaps=[Gap(
            exchange=venue.exchange, market_type=venue.market_type, symbol=symbol, symbols=symbols, from_ns=from_ns, to_ns=to_ns,
            reason=f"connection {connection}: subscribed and silent" if connection >= 0 else "subscribed and silent")]))
