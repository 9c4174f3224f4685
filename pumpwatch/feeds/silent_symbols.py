"""Symbols that are acknowledged and silent, although they trade.

A venue may grant a subscription and then send nothing: the stream has moved to another path, or a server has lost the
symbol. On the connection that looks like a quiet market. So what is quiet for longer than expected is looked up in the
venue's own trade history (REST), one symbol at a time, the most doubtful first, and only trades that are there and never
came prove it. What is proven is told once, is a gap until a trade comes, and is mended: the symbol is subscribed again,
then on another connection; a connection on which nothing came at all is made anew.

Expected is four times the symbol's own longest quiet (rhythm.py); before that is known, what its share of the venue's
volume makes of the trades that its neighbours have, half an hour at most; without a volume ten minutes. On a connection
that never had a trade it is half the venue's `stale_after_s`, so that it is examined before it is given up. Each history
that shows nothing new, or cannot be had, doubles the time until the next.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from pumpwatch.feeds.staleness import UNHEARD, Staleness
from pumpwatch.model import Columns, Gap, HistoryQuery, Int64
from pumpwatch.net.texts import masked, one_line
from pumpwatch.records import ConnectionEvent, Records

log = logging.getLogger(__name__)

DAY_S = 86_400.0
USUAL_TRADE = 2_000.0  # of the quote currency; until the venue's own trades tell
UNLIKELY = 30.0  # times the mean time between trades
UNKNOWN_S, LONGEST_S = 600.0, 1800.0  # before a history is asked for: without a volume, and with however small a one
PROOF = 2  # trades that never came; one alone may be of a kind that the stream leaves out
FAILURES, PAUSE_S = 3, 60.0  # histories in a row that were not to be had, and the rest after each more
MENDED_S = 600.0  # a symbol that traded for so long is mended
SHORTEST_PAUSE_S = 0.0001  # between connections, so that sockets are read

LastTimes = Callable[[NDArray[np.int32]], Int64]  # instruments -> times of their last trades, 0: none yet


class Placement(Protocol):
    """What the watch may ask of the venue's feeds."""

    feeds: list[Feed]

    def move(self, symbol: str) -> None:
        """Read this symbol on another connection."""


@dataclass(slots=True)
class Watched:
    """One symbol. Times in ns; those of trades are the venue's, the others ours."""

    rhythm: Staleness
    stood_at_ns: int = 0  # of the connection it is granted on
    since_ns: int = 0  # not granted there before
    seen_ns: int = 0  # granted there at the latest
    heard_ns: int = 0  # the time of its last trade
    silent_from_ns: int = 0  # 0: it is not known to be silent
    tries: int = 0  # to mend it
    mended_at: float = -math.inf  # s, monotonic

    def begin(self, now: float, now_ns: int, since_ns: int, heard_ns: int) -> None:
        """Note that it is granted, and has been since some moment after `since_ns`."""
        self.rhythm.resume(now, heard_ns)
        self.since_ns, self.seen_ns, self.heard_ns = since_ns, now_ns, heard_ns


@dataclass(frozen=True, slots=True)
class Doubt:
    """A symbol that has been quiet for too long. The largest weight is examined first."""

    symbol: str
    watched: Watched
    feed: Feed
    weight: tuple[float, float]


class SilentSymbolWatch:
    """Watches one venue's symbols. `run` is the body of a supervised greenlet; it ends when `stopping` is set."""

    def __init__(self, context: FeedContext, placement: Placement, catalogue: Catalogue, last_times: LastTimes,
                 stopping: Event) -> None:
        self._context, self._placement, self._catalogue = context, placement, catalogue
        self._last_times, self._stopping = last_times, stopping
        venue = context.venue
        self._ids: Mapping[str, int] = catalogue.ids_of((venue.exchange, venue.market_type))
        self._watched: dict[str, Watched] = {}
        # Silent connection -> since when it stands, where its gap begins, and whose it is.
        self._told: dict[int, tuple[int, int, tuple[str, ...]]] = {}
        self._began = context.clock.monotonic()
        self._looked_at_ns = 0
        self._examine_at = -math.inf
        self._failures = 0
        self.look_s = Staleness(venue.stale_after_s).look_s

    @property
    def silent(self) -> list[str]:
        """The symbols known to be silent, and all symbols of silent connections."""
        alone = {symbol for symbol, one in self._watched.items() if one.silent_from_ns}
        return sorted(alone.union(*(feed.symbols for feed in self._placement.feeds if feed.number in self._told)))

    def run(self) -> None:
        """Look again and again; a history is asked for beside that, one at a time."""
        examination: gevent.Greenlet[..., None] | None = None
        try:
            while not self._stopping.wait(self.look_s):
                doubts: list[Doubt] = []
                for found in self.looks():
                    doubts += found
                    gevent.sleep(SHORTEST_PAUSE_S)
                if examination is not None and not examination.ready():
                    continue
                if examination is not None:
                    examination.get()  # what went wrong in it is raised here
                examination = gevent.spawn(self.examine, doubts)
        finally:
            if examination is not None:
                examination.kill(block=False)

    def looks(self) -> Iterator[list[Doubt]]:
        """Take in who has traded, a connection at a time; yield who has been quiet for too long."""
        now, now_ns = self._context.clock.monotonic(), self._context.clock.now_ns()
        wanted = {symbol for feed in self._placement.feeds for symbol in feed.symbols}
        for symbol in self._watched.keys() - wanted:
            del self._watched[symbol]
        recovered = self._follow_connections(now_ns)
        self._follow_symbols(now, now_ns)
        per_value = self._trades_per_value(now)
        for feed in list(self._placement.feeds):
            if feed.stood_at_ns:
                yield self._look_at(feed, feed.number in recovered, per_value, now, now_ns)
        self._looked_at_ns = now_ns

    def _look_at(self, feed: Feed, recovered: bool, per_value: float, now: float, now_ns: int) -> list[Doubt]:
        stale_s, stood_at_ns = self._context.venue.stale_after_s, feed.stood_at_ns
        symbols = [symbol for symbol in feed.granted if symbol in self._ids]
        never = feed.unheard(now)
        doubts = []
        for symbol, heard_ns in zip(symbols, self._heard(symbols), strict=True):
            one = self._watched.get(symbol)
            if one is None:
                one = self._watched[symbol] = Watched(Staleness(stale_s))
            if one.stood_at_ns != stood_at_ns or recovered:
                one.stood_at_ns = stood_at_ns
                one.begin(now, now_ns, max(stood_at_ns, feed.heard_at_ns if recovered else self._looked_at_ns), heard_ns)
                continue
            if not one.silent_from_ns and heard_ns > one.since_ns - self._context.slack_ns():
                one.rhythm.look(now, heard_ns)  # older ones are sent again on subscribing, and say nothing
                one.heard_ns = heard_ns
            volume = self._catalogue.instruments[self._ids[symbol]].volume
            if one.silent_from_ns:
                allowed_s = one.rhythm.stale_s
            elif feed.heard_at_ns:
                allowed_s = one.rhythm.patience_s(min(UNLIKELY / (volume * per_value), LONGEST_S) if volume else UNKNOWN_S)
            else:
                allowed_s = UNHEARD * one.rhythm.stale_s if never else math.inf
            quiet_s = one.rhythm.quiet_s(now)
            if quiet_s > allowed_s:
                doubts.append(Doubt(symbol, one, feed, (quiet_s / allowed_s, volume)))
        return doubts

    def _heard(self, symbols: Sequence[str]) -> list[int]:
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

    def examine(self, doubts: Sequence[Doubt]) -> None:
        """Ask the venue's history whether the most doubtful symbol is silent or the market quiet."""
        clock, stats, venue = self._context.clock, self._context.stats, self._context.venue
        if not doubts or clock.monotonic() < self._examine_at:
            return
        doubt = max(doubts, key=lambda one: one.weight)
        one, feed = doubt.watched, doubt.feed
        stats.add("silence_checks_total", venue=venue.name)
        try:
            missed = self._missed(doubt.symbol, max(one.heard_ns, one.seen_ns) + self._context.slack_ns())
        except (ServiceUnavailable, *REFUSALS) as error:
            self._no_history(doubt.symbol, one, error)
            return
        self._failures = 0
        if not self._still(doubt):
            return
        if len(missed) < PROOF:
            one.rhythm.give_up()
        elif self._nothing_came(feed, int(missed.min())):
            self._connect_again(doubt, f"{doubt.symbol} has traded {len(missed)} times by the venue's own history")
        else:
            self._subscribe_again(doubt, len(missed))

    def _still(self, doubt: Doubt) -> bool:
        """Whether nothing has changed while the answer was on its way: no trade, no other connection, no refusal."""
        one, feed, symbol = doubt.watched, doubt.feed, doubt.symbol
        return (self._watched.get(symbol) is one and symbol in feed.symbols and symbol in feed.granted
                and one.stood_at_ns == feed.stood_at_ns and self._heard([symbol])[0] <= max(one.heard_ns, one.seen_ns))

    def _missed(self, symbol: str, after_ns: int) -> Int64:
        """Return the times of the trades after that moment which should have come by now."""
        venue, now_ns = self._context.venue, self._context.clock.now_ns()
        reach_s = min(DAY_S, venue.history.window_s)  # no venue answers for all time
        start_ns = max(after_ns, now_ns - int(reach_s * NS_PER_S))
        body = self._context.ask(venue.history_request(HistoryQuery(symbol, start_ns, now_ns)))
        columns = Columns()
        venue.parse_history(body, symbol, columns)
        times = np.array(columns.timestamp, np.int64) * venue.timestamp_unit_ns
        found: Int64 = times[(times > start_ns) & (times < now_ns - int(self.look_s * NS_PER_S) - self._context.slack_ns())]
        return found

    def _no_history(self, symbol: str, one: Watched, error: Exception) -> None:
        """Let this symbol wait; where it is the same with others, let the venue rest, and say so."""
        one.rhythm.give_up()
        self._failures += 1
        self._context.stats.add("silence_checks_failed_total", venue=self._context.venue.name)
        if self._failures >= FAILURES:
            self._examine_at = self._context.clock.monotonic() + PAUSE_S
        if self._failures == FAILURES:
            log.warning("whether symbols are silent cannot be checked venue=%s symbol=%s reason=%s",
                        self._context.venue.name, symbol, one_line(str(error), 200))

    def _nothing_came(self, feed: Feed, missed_ns: int) -> bool:
        """Whether the whole connection has been silent since the first trade that never came."""
        newest_ns = max(self._heard([symbol for symbol in feed.granted if symbol in self._ids]), default=0)
        quiet_ns = self._context.clock.now_ns() - max(feed.heard_at_ns, feed.stood_at_ns)
        return newest_ns < missed_ns and quiet_ns > UNHEARD * self._context.venue.stale_after_s * NS_PER_S

    def _connect_again(self, doubt: Doubt, reason: str) -> None:
        venue, feed = self._context.venue, doubt.feed
        if feed.number not in self._told:
            log.warning("subscribed and silent venue=%s connection=%d symbols=%d: nothing came, though %s; connecting again. "
                        "Where that does not help, has its address changed? ws_url=%s",
                        venue.name, feed.number, len(feed.symbols), reason, masked(self._context.ws_url))
            self._context.stats.add("silent_connections_total", venue=venue.name)
        self._told.setdefault(feed.number, (0, 0, ()))
        feed.leave(f"subscribed and silent: {reason}")

    def _subscribe_again(self, doubt: Doubt, missed: int) -> None:
        one, context, feed, symbol = doubt.watched, self._context, doubt.feed, doubt.symbol
        now, now_ns = context.clock.monotonic(), context.clock.now_ns()
        if one.silent_from_ns:
            one.rhythm.give_up()
        else:
            one.rhythm.begin_anew()
            one.silent_from_ns = max(one.heard_ns, one.since_ns - context.slack_ns())
            one.tries *= now - one.mended_at < MENDED_S
            reason = f"{symbol}: subscribed and silent: {missed} trades of the venue's own history never came"
            log.warning("subscribed and silent venue=%s connection=%d symbol=%s: %d trades of the venue's own history never "
                        "came; subscribing again", context.venue.name, feed.number, symbol, missed)
            context.stats.add("silent_symbols_total", venue=context.venue.name)
            context.record(Records(connection_events=[ConnectionEvent(
                at_ns=now_ns, exchange=context.venue.exchange, market_type=context.venue.market_type,
                connection=feed.number, event="silent", reason=reason)]))
        self._note_gap(symbol, one.silent_from_ns, self._ahead_ns(now_ns))
        one.tries += 1
        one.begin(now, now_ns, one.since_ns, one.heard_ns)
        if one.tries % 2:
            feed.ask_again(symbol)
        else:
            self._placement.move(symbol)

    def _follow_connections(self, now_ns: int) -> set[int]:
        """Let the gaps of silent connections grow, until a trade ends them; return those that it has ended."""
        recovered = set()
        for feed in self._placement.feeds:
            stood_at_ns = feed.stood_at_ns
            if feed.number not in self._told or not stood_at_ns:
                continue
            if self._told[feed.number][0] != stood_at_ns:  # what was before is in the gap of the connection before
                self._told[feed.number] = stood_at_ns, stood_at_ns - self._context.slack_ns(), tuple(sorted(feed.symbols))
            heard = feed.heard_at_ns > stood_at_ns
            _, from_ns, symbols = self._told[feed.number]
            self._note_gap("", from_ns, feed.heard_at_ns if heard else self._ahead_ns(now_ns), feed.number, symbols)
            if heard:
                log.info("trades come again venue=%s connection=%d", self._context.venue.name, feed.number)
                recovered.add(feed.number)
                del self._told[feed.number]
        return recovered

    def _follow_symbols(self, now: float, now_ns: int) -> None:
        """Let the gaps of silent symbols grow, until a trade ends them that is younger than the last try to mend it."""
        silent = {symbol: one for symbol, one in self._watched.items() if one.silent_from_ns}
        for (symbol, one), heard_ns in zip(silent.items(), self._heard(list(silent)), strict=True):
            if heard_ns > max(one.heard_ns, one.seen_ns):
                self._note_gap(symbol, one.silent_from_ns, heard_ns)
                log.info("trades come again venue=%s symbol=%s", self._context.venue.name, symbol)
                one.silent_from_ns, one.mended_at = 0, now
            else:
                self._note_gap(symbol, one.silent_from_ns, self._ahead_ns(now_ns))

    def _ahead_ns(self, now_ns: int) -> int:
        """Return up to when a gap that grows is written, so that a kill before the next look finds it long enough."""
        return now_ns + 2 * int(self.look_s * NS_PER_S)

    def _note_gap(self, symbol: str, from_ns: int, to_ns: int, connection: int = -1, symbols: tuple[str, ...] = ()) -> None:
        venue = self._context.venue
        self._context.record(Records(gaps=[Gap(
            exchange=venue.exchange, market_type=venue.market_type, symbol=symbol, from_ns=from_ns, to_ns=to_ns,
            first_id=None, last_id=None, symbols=symbols,
            reason=f"connection {connection}: subscribed and silent" if connection >= 0 else "subscribed and silent")]))
