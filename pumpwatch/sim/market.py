"""Generated markets: prices that walk, ids that go up by one, and a coin that jumps when it is listed.

The n-th trade of a venue (symbol, price, quantity, side) depends on the seed and n alone, except that pumps change prices
and add trades. The sources decide when a trade happens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pumpwatch.clock import NS_PER_S
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.rows import VOID, Ints, Rows, SymbolTable

BLOCK = 8192  # trades drawn at once
KNOWN_COINS = (
    ("BTC", 61_800.0, "비트코인"), ("ETH", 2_650.0, "이더리움"), ("SOL", 155.0, "솔라나"),
    ("XRP", 0.61, "엑스알피(리플)"), ("SOMI", 0.82, "솜니아"), ("PEPE", 0.0000081, "페페"),
    ("DOGE", 0.104, "도지코인"), ("0G", 3.1, "제로지"),
    ("TIA", 5.2, "셀레스티아"), ("ORDER", 0.11, "오덜리"), ("NMR", 14.8, "뉴메레르"), ("KAIA", 0.14, "카이아"),
    ("1INCH", 0.27, "1인치네트워크"), ("BONK", 0.000019, "봉크"), ("SUI", 0.95, "수이"), ("ARB", 0.58, "아비트럼"),
    ("API3", 1.5, "에이피아이쓰리"), ("WLD", 1.6, "월드코인"), ("AVAX", 22.4, "아발란체"), ("LINK", 10.4, "체인링크"),
    ("F", 0.013, "신퓨처스"), ("2Z", 0.45, "더블제로"), ("TON", 6.4, "톤코인"), ("ADA", 0.34, "에이다"),
    ("NEAR", 4.1, "니어프로토콜"), ("APT", 6.3, "앱토스"), ("SEI", 0.28, "세이"), ("STRK", 0.39, "스타크넷"),
    ("B3", 0.004, "비쓰리"), ("MOODENG", 0.21, "무뎅"), ("INJ", 18.2, "인젝티브"), ("ENA", 0.33, "에테나"),
)


def coins(count: int) -> list[Coin]:
    """Return `count` coins: known ones first, then made-up ones."""
    known = [Coin(name, price, korean) for name, price, korean in KNOWN_COINS[:count]]
    made = range(len(known), count)
    return known + [Coin(f"SIM{number}", round(10 ** (number % 7 - 3) * 1.37, 6), f"심{number}") for number in made]


def spread(total: int, weights: Sequence[float]) -> list[int]:
    """Split a total into whole numbers in proportion to the weights, none below 1."""
    ends = np.rint(np.cumsum(weights) * (total / sum(weights))).astype(np.int64)
    return [max(1, int(count)) for count in np.diff(ends, prepend=0)]


@dataclass(slots=True)
class Pump:
    """A coin's price and volume after the notice of its listing: a jump, a climb to the peak, a slow decline."""

    symbol: int
    start_ns: int
    height: float  # 0.3: the peak is 30 % above
    volume: float  # 40: the symbol trades 40 times as often at first
    climb_s: float = 4.0
    fade_s: float = 30.0

    def price_factor(self, at_ns: Ints) -> NDArray[np.float64]:
        """Return the factor of prices at these times."""
        t = (at_ns - self.start_ns) / NS_PER_S
        climb = 0.5 + 0.5 * np.clip(t / self.climb_s, 0, 1)
        fade = 0.4 + 0.6 * np.exp(-np.clip(t - self.climb_s, 0, None) / self.fade_s)
        return np.where(t < 0, 1.0, 1 + self.height * np.where(t < self.climb_s, climb, fade))

    def extra_share(self, at_ns: int) -> float:
        """Return the number of additional trades, as a multiple of the symbol's usual trades."""
        t = (at_ns - self.start_ns) / NS_PER_S
        return (self.volume - 1) * math.exp(-max(t, 0) / self.fade_s) if t >= 0 else 0.0


class SimulatedMarket:
    """The generated trades of one venue, in order."""

    def __init__(self, table: SymbolTable, seed: Sequence[int], *, first_id: int, unit_ns: int,
                 flag_shares: Mapping[int, float]) -> None:
        self.table = table
        self._random = np.random.default_rng(seed)
        self._extra_random = np.random.default_rng([*seed, 1])
        self.weights = table.shares
        self._cumulative = np.cumsum(self.weights)
        self._flags = [*flag_shares.items()]
        self._level = np.array([spec.price for spec in table.specs]) * table.price_scale
        digits = np.floor(np.log10(np.maximum(self._level, 1))) - 4
        self._tick = (10 ** np.maximum(digits, 0)).astype(np.int64)  # prices have five digits, as on real venues
        self._last = np.maximum(self._level // self._tick * self._tick, 1).astype(np.int64)
        self.next_id = np.full(len(table), first_id, np.int64)
        self._unit_ns = unit_ns
        self._ahead = self._draw()
        self.pumps: list[Pump] = []
        self._extra_due = 0.0

    def next_trades(self, count: int, from_ns: int, to_ns: int, seconds: float = 0.0, rate: float = 0.0) -> Rows:
        """Return the next `count` trades, spread over [from_ns, to_ns), and the additional trades of pumps.

        seconds, rate: the length of that time and the venue's usual trades a second, which determine the trades of pumps.
        """
        parts = []
        while count > 0:
            part = self._ahead.take(slice(count))
            self._ahead = self._ahead.take(slice(count, None)) if count < len(self._ahead) else self._draw()
            count -= len(part)
            parts.append(part)
        extra = self._extra(from_ns, seconds, rate) if self.pumps else None
        rows = Rows.concat([*parts, extra] if extra is not None else parts or [Rows.empty(self.table)])
        return self._with_ids_and_times(rows, from_ns, to_ns, bool(self.pumps))

    def pump(self, coin: str, start_ns: int, height: float, volume: float) -> list[str]:
        """Make a coin's symbols jump; return them."""
        found = [number for number, spec in enumerate(self.table.specs) if spec.coin == coin]
        self.pumps.extend(Pump(number, start_ns, height, volume) for number in found)
        return [self.table.symbols[number] for number in found]

    def _with_ids_and_times(self, rows: Rows, from_ns: int, to_ns: int, pumped: bool) -> Rows:
        """Return rows with the next ids of their symbols, and times in [from_ns, to_ns)."""
        count = len(rows)
        order = np.argsort(rows.symbol, kind="stable")
        grouped = rows.symbol[order]
        starts = np.flatnonzero(np.diff(grouped, prepend=-1))
        sizes = np.diff(starts, append=count)
        trade_id = np.empty(count, np.int64)
        trade_id[order] = np.arange(count) - np.repeat(starts, sizes) + self.next_id[grouped]
        self.next_id[grouped[starts]] += sizes
        timestamp = from_ns + np.arange(count, dtype=np.int64) * max(to_ns - from_ns, 0) // max(count, 1)
        timestamp -= timestamp % self._unit_ns
        price = self._pumped(rows, timestamp) if pumped else rows.price
        return Rows(rows.table, rows.symbol, trade_id, timestamp, price, rows.quantity, rows.sell, rows.flags)

    def _pumped(self, rows: Rows, timestamp: Ints) -> Ints:
        price = rows.price.copy()
        for pump in self.pumps:
            mask = rows.symbol == pump.symbol
            if mask.any():
                tick = int(self._tick[pump.symbol])
                price[mask] = np.rint(price[mask] * pump.price_factor(timestamp[mask]) / tick).astype(np.int64) * tick
        return price

    def _extra(self, now_ns: int, seconds: float, rate: float) -> Rows | None:
        """Return the additional trades of pumps, drawn from the market's second random source."""
        shares = np.array([self.weights[pump.symbol] * pump.extra_share(now_ns) for pump in self.pumps])
        self._extra_due += float(shares.sum()) * rate * seconds
        count = int(self._extra_due)
        if not count:
            return None
        self._extra_due -= count
        random = self._extra_random
        picked = random.choice(len(shares), count, p=shares / shares.sum())
        symbol = np.array([pump.symbol for pump in self.pumps], np.int32)[picked]
        price = np.maximum(self._last[symbol] + random.integers(-3, 4, count) * self._tick[symbol], 1)
        return self._rows(symbol, price, random)

    def _draw(self) -> Rows:
        """Draw the next block: symbols by weight, and a random walk of each symbol's price."""
        random = self._random
        symbol = np.searchsorted(self._cumulative, random.random(BLOCK)).clip(0, len(self.table) - 1).astype(np.int32)
        order = np.argsort(symbol, kind="stable")
        grouped = symbol[order]
        starts = np.flatnonzero(np.diff(grouped, prepend=-1))
        sizes = np.diff(starts, append=BLOCK)
        steps = np.cumsum(random.integers(-1, 2, BLOCK))
        walked = steps - np.repeat(steps[starts], sizes)
        # the walk is pulled back to the price at the start, so that a long run neither sinks nor soars
        pull = 0.1 * (self._level - self._last)[grouped] * (np.arange(BLOCK) - np.repeat(starts, sizes)) / BLOCK
        tick = self._tick[grouped]
        path = self._last[grouped] + walked * tick + np.rint(pull / tick).astype(np.int64) * tick
        price = np.empty(BLOCK, np.int64)
        price[order] = np.maximum(path, np.maximum(self._last[grouped] // (2 * tick) * tick, 1))
        ends = order[starts + sizes - 1]
        self._last[symbol[ends]] = price[ends]
        return self._rows(symbol, price, random)

    def _rows(self, symbol: NDArray[np.int32], price: Ints, random: np.random.Generator) -> Rows:
        count = len(symbol)
        worth = np.exp(random.normal(4.6, 1.4, count))  # USDT, median 100
        size = self.table.contract_size[symbol]
        scale = self.table.quantity_scale[symbol] * self.table.price_scale[symbol]
        units = worth * size[:, 1] / size[:, 0] * scale / np.maximum(price, 1)
        lot = np.maximum(units // 1000, 1)
        quantity = np.maximum(np.rint(units / lot) * lot, 1).astype(np.int64)
        sell = random.random(count) < 0.5
        flags = np.zeros(count, np.uint8)
        chance = random.random(count)
        for flag, share in self._flags:
            hit = (chance >= 0) & (chance < share)
            flags[hit] = flag
            chance = np.where(hit, -1, chance - share)
        void = flags == VOID
        if void.any():
            price, quantity = np.where(void, 0, price), np.where(void, 0, quantity)
        nothing = np.zeros(count, np.int64)
        return Rows(self.table, symbol, nothing, nothing, price, quantity, sell, flags)
