"""Symbols that are acknowledged and silent, although they trade.

A venue may grant a subscription and then send nothing: the stream has moved to another path, or a server has lost the
symbol. On the connection that looks like a quiet market. So what is quiet for longer than expected is looked up in the
venue's own trade history (REST), one symbol a look, the most doubtful first, and only trades that are there and never
came prove it. What is proven is told once, is a gap until a trade comes, and is mended: the symbol is subscribed again,
then on another connection; a connection on which nothing came at all is made anew.

Expected is four times the symbol's own longest quiet (rhythm.py); before that is known, what its share of the venue's
volume makes of the trades that its neighbours have, half an hour at most; without a volume ten minutes. On a connection
that never had a trade it is half the venue's `stale_after_s`, so that it is examined before it is given up.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from gevent.event import Event
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.feeds.feed import Feed
from pumpwatch.feeds.link import Surroundings
from pumpwatch.feeds.rhythm import MUTE, Rhythm
from pumpwatch.model import Columns, Gap, HistoryQuery, Int64
from pumpwatch.records import ConnectionEvent, Records

log = logging.getLogger(__name__)

DAY_S = 86_400.0
USUAL_TRADE = 2_000.0  # of the quote currency; until the venue's own trades tell
UNLIKELY = 30.0  # times the mean time between trades
UNKNOWN_S, LONGEST_S = 600.0, 1800.0  # before a history is asked for: without a volume, and with however small a one
PROOF = 2  # trades that never came; one alone may be of a kind that the stream leaves out
REST_PAUSE_S = 60.0  # after a history that was not to be had

LastTimes = Callable[[NDArray[np.int32]], Int64]  # instruments -> times of their last trades, 0: none yet


class Placement(Protocol):
    """What the watch may ask of the venue's feeds."""

    feeds: list[Feed]

    def move(self, symbol: str) -> None:
        """Read this symbol on another connection."""


@dataclass(slots=True)
class Watched:
    """One symbol."""

    rhythm: Rhythm
    stood_at_ns: int = 0  # of the connection it is granted on
    since_ns: int = 0  # granted there since
    heard_ns: int = 0  # the time of its last trade
    tries: int = 0  # to mend it
    silent_from_ns: int = 0  # 0: it is not known to be silent

    def begin(self, now: float, now_ns: int, stood_at_ns: int, heard_ns: int) -> None:
        """Note that it was granted just now."""
        self.rhythm.resume(now, heard_ns)
        self.stood_at_ns, self.since_ns, self.heard_ns = stood_at_ns, now_ns, heard_ns


@dataclass(frozen=True, slots=True)
class Suspect:
    """A symbol that has been quiet for too long. doubt: what is examined first."""

    symbol: str
    watched: Watched
    feed: Feed
    doubt: tuple[float, float]


class SilenceWatch:
    """Watches one venue's symbols. `run` is the body of a supervised greenlet; it ends when `stopping` is set."""

    def __init__(self, around: Surroundings, placement: Placement, catalogue: Catalogue, last_times: LastTimes,
                 stopping: Event) -> None:
        self._around, self._placement, self._catalogue = around, placement, catalogue
        self._last_times, self._stopping = last_times, stopping
        venue = around.venue
        self._ids: Mapping[str, int] = catalogue.ids_of((venue.exchange, venue.market_type))
        self._watched: dict[str, Watched] = {}
        self._told: set[int] = set()  # silent connections that were told of
        self._began = around.clock.monotonic()
        self._examine_at = -math.inf
        self.look_s = Rhythm(venue.stale_after_s).look_s

    @property
    def silent(self) -> list[str]:
        """The symbols known to be silent, alone or with their whole connection."""
        alone = {symbol for symbol, one in self._watched.items() if one.silent_from_ns}
        return sorted(alone.union(*(feed.symbols for feed in self._placement.feeds if feed.number in self._told)))

    def run(self) -> None:
        """Look again and again."""
        while not self._stopping.wait(self.look_s):
            self.once()

    def once(self) -> None:
        """Look at every symbol, and examine the most doubtful."""
        suspects = list(self._look())
        if suspects and self._around.clock.monotonic() >= self._examine_at:
            self._examine(max(suspects, key=lambda one: one.doubt))

    def _look(self) -> Iterator[Suspect]:
        """Take in who has traded; yield who has been quiet for too long."""
        around, now, now_ns = self._around, self._around.clock.monotonic(), self._around.clock.now_ns()
        feeds = [feed for feed in self._placement.feeds if feed.stood_at_ns]
        recovered = self._follow_connections(feeds, now_ns)
        wanted = {symbol for feed in self._placement.feeds for symbol in feed.symbols}
        for symbol in self._watched.keys() - wanted:
            del self._watched[symbol]
        self._follow_symbols(now_ns)
        per_value = self._trades_per_value(now)
        for feed in feeds:
            symbols = [symbol for symbol in feed.granted if symbol in self._ids]
            mute = feed.mute(now)
            for symbol, heard_ns in zip(symbols, self._heard(symbols), strict=True):
                one = self._watched.get(symbol)
                if one is None:
                    one = self._watched[symbol] = Watched(Rhythm(around.venue.stale_after_s))
                if one.stood_at_ns != feed.stood_at_ns or feed.number in recovered:
                    one.begin(now, now_ns, feed.stood_at_ns, heard_ns)
                    continue
                one.rhythm.look(now, heard_ns)
                one.heard_ns = heard_ns
                volume = self._catalogue.instruments[self._ids[symbol]].volume
                expected_s = min(UNLIKELY / (volume * per_value), LONGEST_S) if volume else UNKNOWN_S
                quiet_s = one.rhythm.quiet_s(now)
                allowed_s = one.rhythm.patience_s(expected_s) if feed.heard_at_ns else MUTE * one.rhythm.stale_s
                if (mute or feed.heard_at_ns) and quiet_s > allowed_s:
                    yield Suspect(symbol, one, feed, (quiet_s / allowed_s, volume))

    def _heard(self, symbols: Sequence[str]) -> list[int]:
        times: list[int] = self._last_times(np.array([self._ids[symbol] for symbol in symbols], np.int32)).tolist()
        return times

    def _trades_per_value(self, now: float) -> float:
        """Return how many trades a second the venue has for a quote volume of 1 a day."""
        venue = self._around.venue
        trades = self._around.stats.get("trades_total", venue=venue.name)
        volume = sum(self._catalogue.instruments[self._ids[symbol]].volume for symbol in self._watched)
        if not trades or not volume or now - self._began < venue.stale_after_s:
            return 1 / USUAL_TRADE / DAY_S
        return trades / (now - self._began) / volume

    def _examine(self, suspect: Suspect) -> None:
        """Ask the venue's history whether it is silent or the market quiet."""
        one, stats, venue = suspect.watched, self._around.stats, self._around.venue
        stats.add("silence_checks_total", venue=venue.name)
        try:
            missed = self._missed(suspect.symbol, max(one.heard_ns, one.since_ns) + self._around.slack_ns())
        except (ServiceUnavailable, *REFUSALS) as error:
            self._examine_at = self._around.clock.monotonic() + REST_PAUSE_S
            stats.add("silence_checks_failed_total", venue=venue.name)
            log.debug("no history to check a silence venue=%s symbol=%s reason=%s", venue.name, suspect.symbol, error)
            return
        if self._heard([suspect.symbol]) != [one.heard_ns] or one.stood_at_ns != suspect.feed.stood_at_ns:
            return  # something came while the answer was on its way
        one.rhythm.give_up()
        if len(missed) >= PROOF:
            if suspect.feed.heard_at_ns < missed.min():
                self._connect_again(suspect, len(missed))
            else:
                self._subscribe_again(suspect, len(missed))

    def _missed(self, symbol: str, after_ns: int) -> Int64:
        """Return the times of the trades after that moment which should have come by now."""
        venue, now_ns = self._around.venue, self._around.clock.now_ns()
        body = self._around.ask(venue.history_request(HistoryQuery(symbol, after_ns, now_ns)))
        columns = Columns()
        venue.parse_history(body, symbol, columns)
        times = np.array(columns.timestamp, np.int64) * venue.timestamp_unit_ns
        found: Int64 = times[(times > after_ns) & (times < now_ns - int(self.look_s * NS_PER_S) - self._around.slack_ns())]
        return found

    def _connect_again(self, suspect: Suspect, missed: int) -> None:
        venue, feed = self._around.venue, suspect.feed
        if feed.number not in self._told:
            self._told.add(feed.number)
            log.warning("subscribed and silent venue=%s connection=%d symbols=%d: nothing came, though %s has traded %d times "
                        "by the venue's own history; connecting again. Where that does not help, has its address changed? "
                        "ws_url=%s", venue.name, feed.number, len(feed.symbols), suspect.symbol, missed, self._around.ws_url)
            self._around.stats.add("silent_connections_total", venue=venue.name)
        feed.leave(f"subscribed and silent: {suspect.symbol} has traded {missed} times by the venue's own history")

    def _subscribe_again(self, suspect: Suspect, missed: int) -> None:
        one, around, feed, symbol = suspect.watched, self._around, suspect.feed, suspect.symbol
        reason = f"{symbol}: subscribed and silent: {missed} trades of the venue's own history never came"
        if not one.silent_from_ns:
            one.silent_from_ns = max(one.heard_ns, one.since_ns - around.slack_ns())
            log.warning("subscribed and silent venue=%s connection=%d symbol=%s: %d trades of the venue's own history never "
                        "came; subscribing again", around.venue.name, feed.number, symbol, missed)
            around.stats.add("silent_symbols_total", venue=around.venue.name)
            around.record(Records(connection_events=[ConnectionEvent(
                at_ns=around.clock.now_ns(), exchange=around.venue.exchange, market_type=around.venue.market_type,
                connection=feed.number, event="silent", reason=reason)]))
        self._note_gap(symbol, one.silent_from_ns, self._ahead_ns(around.clock.now_ns()))
        if one.tries % 2:
            self._placement.move(symbol)
        else:
            feed.ask_again(symbol)
        one.tries += 1
        one.begin(around.clock.monotonic(), around.clock.now_ns(), feed.stood_at_ns, one.heard_ns)

    def _follow_connections(self, feeds: Sequence[Feed], now_ns: int) -> set[int]:
        """Let the gaps of silent connections grow, until a trade ends them; return those that it has ended."""
        recovered = set()
        for feed in feeds:
            if feed.number in self._told:
                self._note_gap("", feed.stood_at_ns - self._around.slack_ns(), feed.heard_at_ns or self._ahead_ns(now_ns))
                if feed.heard_at_ns:
                    log.info("trades come again venue=%s connection=%d", self._around.venue.name, feed.number)
                    recovered.add(feed.number)
        self._told -= recovered
        return recovered

    def _follow_symbols(self, now_ns: int) -> None:
        """Let the gaps of silent symbols grow, until a trade ends them."""
        silent = {symbol: one for symbol, one in self._watched.items() if one.silent_from_ns}
        for (symbol, one), heard_ns in zip(silent.items(), self._heard(list(silent)), strict=True):
            if heard_ns > one.heard_ns:
                self._note_gap(symbol, one.silent_from_ns, heard_ns)
                log.info("trades come again venue=%s symbol=%s", self._around.venue.name, symbol)
                one.silent_from_ns = one.tries = 0
            else:
                self._note_gap(symbol, one.silent_from_ns, self._ahead_ns(now_ns))

    def _ahead_ns(self, now_ns: int) -> int:
        """Return up to when a gap that grows is written, so that a kill before the next look finds it long enough."""
        return now_ns + 2 * int(self.look_s * NS_PER_S)

    def _note_gap(self, symbol: str, from_ns: int, to_ns: int) -> None:
        venue = self._around.venue
        self._around.record(Records(gaps=[Gap(
            exchange=venue.exchange, market_type=venue.market_type, symbol=symbol, from_ns=from_ns, to_ns=to_ns,
            first_id=None, last_id=None, reason="subscribed and silent")]))
