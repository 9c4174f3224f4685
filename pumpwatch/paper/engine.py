"""Play a tape through a strategy, with each call and each order at the right time.

There are two clocks. The venues' clock is that of the trades' timestamps; orders are matched by it. The strategy's clock is
behind it: the strategy sees a trade or a fill only when that could have reached it (`received_at` and `latency`). An order
reaches the venue after it was sent, and is matched only with later trades. So a strategy never knows the future of the market
that its orders meet.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from random import Random

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import Int64
from pumpwatch.paper.account import PaperAccount
from pumpwatch.paper.amounts import exactly
from pumpwatch.paper.broker import PaperBroker
from pumpwatch.paper.cursor import NEVER
from pumpwatch.paper.exits import Exits
from pumpwatch.paper.latency import LatencyModel
from pumpwatch.paper.matching import Matching
from pumpwatch.paper.orders import Action, PaperOrder
from pumpwatch.paper.outcome import outcome_of
from pumpwatch.paper.results import ListingOutcome
from pumpwatch.paper.seen import SeenMarket
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.tape import Tape
from pumpwatch.strategy import Fill, SeenTrade, Strategy

ROWS = 20_000  # rows of the tape converted to Python objects at a time


@dataclass(frozen=True, slots=True)
class Played:
    """The result of a replay: its outcome, and every action on orders and positions, by time."""

    outcome: ListingOutcome
    actions: tuple[Action, ...]


def play(tape: Tape, strategy: Strategy, settings: Settings, delay_ms: int) -> Played:
    """Play a tape through a strategy, whose first call comes delay_ms after the trigger. Raises anything the strategy raises."""
    engine = _Engine(tape, strategy, settings, delay_ms)
    engine.run()
    return Played(outcome_of(tape, settings, delay_ms, engine.matching.log, engine.broker.rejected, engine.orders),
                  tuple(engine.matching.log))


class _Engine:
    @exactly
    def __init__(self, tape: Tape, strategy: Strategy, settings: Settings, delay_ms: int) -> None:
        self._tape, self._strategy, self._start = tape, strategy, tape.triggered_at_ns + delay_ms * NS_PER_MS
        where = f"{settings.seed}/{tape.identity}/{delay_ms}"
        self._latency = LatencyModel(tape, settings, Random(f"latency/{where}"))
        self._seen_at: Int64 = np.maximum(tape.received_at, tape.timestamp) + self._latency.view_ns
        self._by_sight = np.argsort(self._seen_at, kind="stable")
        self.matching = Matching(tape, PaperAccount(settings.cash, tape.markets), settings.share, self._happened)
        self.broker = PaperBroker(tape.markets, [self._seen(number) for number in range(len(tape.markets))], settings,
                                  Random(f"strategy/{where}"), self._send, self._send_cancel)
        self.orders: dict[str, PaperOrder] = {}
        self._exits = Exits(settings.rules, self.broker)
        self._needs_prices = settings.rules.trailing_stop_percent is not None or settings.rules.target_percent is not None
        self._notices: list[tuple[int, int, Fill | None, PaperOrder, bool]] = []
        self._told_at: dict[int, int] = {}  # time of a market's last notice: a venue sends them in order
        self._count = 0
        self._changed = False  # whether the next due time may have changed
        self._tick_ns = round(strategy.tick_s * NS_PER_S)
        self._tick_at = self._start + self._tick_ns if self._tick_ns > 0 else NEVER

    def run(self) -> None:
        """Play from the start to the end of the tape."""
        if self._start <= self._tape.end_ns:
            self.broker._now = self._start
            self._strategy.on_listing(self._tape.listing, self.broker)
            self._show_trades()
            self._until(self._tape.end_ns)
            self.matching.finish(self._tape.end_ns)

    def _seen(self, number: int) -> SeenMarket:
        tape, rows = self._tape, self._by_sight
        rows = rows[(tape.market[rows] == number) & tape.matched[rows]]
        return SeenMarket(self._seen_at[rows], tape.price[rows], tape.quantity[rows])

    def _wanted(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Return the rows to show one by one, in the order in which the strategy sees them."""
        tape, rows = self._tape, self._by_sight
        seen_at = self._seen_at[rows]
        rows = rows[np.searchsorted(seen_at, self._start, "right"):np.searchsorted(seen_at, tape.end_ns, "right")]
        if self._needs_prices:
            return rows
        if type(self._strategy).on_trade is Strategy.on_trade:
            return rows[:0]
        return rows[np.array(self._watching(), bool)[tape.market[rows]]] if tape.markets else rows

    def _watching(self) -> list[bool]:
        """Return for each market whether the strategy gets its trades."""
        named = self._strategy.watches
        watches = {named} if isinstance(named, str) else set(named)
        shows = type(self._strategy).on_trade is not Strategy.on_trade
        return [shows and (not watches or market.name in watches or market.venue in watches) for market in self._tape.markets]

    def _show_trades(self) -> None:
        tape, broker, exits, on_trade = self._tape, self.broker, self._exits, self._strategy.on_trade
        names, watching = [market.name for market in tape.markets], self._watching()
        sides, watched, new, rows = ("buy", "sell"), exits.watched, tuple.__new__, self._wanted()
        due = self._due()
        self._changed = False
        for start in range(0, len(rows), ROWS):
            piece = rows[start:start + ROWS]
            columns = [column[piece].tolist() for column in (self._seen_at, tape.market, tape.price, tape.quantity, tape.side,
                                                             tape.timestamp, tape.received_at, tape.matched)]
            for at, number, price, quantity, side, timestamp, received_at, matched in zip(*columns, strict=True):
                if at >= due:
                    self._until(at)
                broker._now = at
                if watched and matched and (found := watched.get(names[number])) and not found.floor < price < found.ceiling:
                    exits.on_price(names[number], price)
                if watching[number]:
                    on_trade(new(SeenTrade, (names[number], price, quantity, sides[side], timestamp, received_at)), broker)
                if self._changed:
                    due, self._changed = self._due(), False

    def _due(self) -> int:
        """Return the time of the next event that is not a trade."""
        return min(self.matching.next_at, self._notices[0][0] if self._notices else NEVER, self._tick_at, self._exits.due_at)

    def _until(self, end_ns: int) -> None:
        """Process all events up to a time, in order."""
        self._changed = True
        while True:
            notice_at = self._notices[0][0] if self._notices else NEVER
            exit_at = max(self._exits.due_at, self.broker.now)  # a retried exit is due now, not in the past
            others = min(notice_at, self._tick_at, exit_at)
            if self.matching.next_at <= min(others, end_ns):
                self.matching.advance(min(others, end_ns))
                continue
            if others > end_ns:
                return
            self.broker._now = others
            if notice_at == others:
                self._learn(*heapq.heappop(self._notices)[2:])
            elif exit_at == others:
                self._exits.expire(others)
            else:
                self._tick_at += self._tick_ns
                self._strategy.on_tick(self.broker)

    def _send(self, order: PaperOrder) -> None:
        self._changed = True
        self.orders[order.order_id] = order
        self.matching.send(order, order.sent_at + self._latency.order_ns(order.number))

    def _send_cancel(self, order_id: str, number: int) -> None:
        self._changed = True
        self.matching.send_cancel(order_id, self.broker.now + self._latency.order_ns(number))

    def _happened(self, fill: Fill | None, order: PaperOrder, at_ns: int) -> None:
        """Schedule the strategy's notice of a fill, or of an order's end, after the latency."""
        if fill is not None and order.order_id not in self.orders:
            self.orders[order.order_id] = order
        self._count += 1
        told_at = max(at_ns + self._latency.order_ns(order.number), self._told_at.get(order.number, 0))
        self._told_at[order.number] = told_at
        heapq.heappush(self._notices, (told_at, self._count, fill, order, order.done))

    def _learn(self, fill: Fill | None, order: PaperOrder, done: bool) -> None:
        self.broker.learn(fill, order, done)
        if fill is not None:
            self._exits.learn(fill, self.broker.position(fill.market), self.broker.now)
        if order.tag and done:
            self._exits.retry(self._tape.markets[order.number].name)
        if fill is not None:
            self._strategy.on_fill(fill, self.broker)
