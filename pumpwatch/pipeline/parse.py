"""From a venue's frames to a batch of trades.

The plugin's `parse` is called once for all frames that wait. When it refuses, the frames are halved until the ones that are no
trades stand alone: those are control frames, or go to quarantine with the reason. So a venue that only sends
trades pays for one call a tick, and a frame nobody can read costs a few more and stops nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import REFUSALS, BadFrame
from pumpwatch.feeds.feed import DISORDER_NS
from pumpwatch.model import NO_SEQUENCE, Columns, Control, Gap, IdKind, Int64, QuantityUnit, TradeBatch, Venue
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import Frames
from pumpwatch.pipeline.lag import Lag
from pumpwatch.records import KEPT_BYTES, Quarantined
from pumpwatch.stats import Stats
from pumpwatch.supervisor import guarded

EARLIEST_NS = 1_230_768_000 * 10**9  # 2009: no venue is older; seconds or ms taken for another unit fall outside
FUTURE_NS = 86_400 * 10**9  # a host's clock may be wrong, a trade of tomorrow is not
QUARANTINE_PER_S = 20.0  # of a venue; what is more is counted, and a gap


@dataclass(frozen=True, slots=True)
class Parsed:
    """Trades of one venue; which rows only use up an id, and which were sent as history (None: no such row).

    source: which connection each row came on, where the venue's trades have no ids.
    """

    batch: TradeBatch
    void: NDArray[np.bool_] | None
    past: NDArray[np.bool_] | None
    source: Int64 | None = None

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Parsed:
        """Return these rows."""
        return Parsed(self.batch.take(rows), None if self.void is None else self.void[rows],
                      None if self.past is None else self.past[rows],
                      None if self.source is None else self.source[rows])


class VenueParser:
    """Reads the frames of one venue. `on_control(connection, control)` gets what is no trade."""

    def __init__(self, venue: Venue, catalogue: Catalogue, clock: Clock, stats: Stats,
                 on_control: Callable[[Connection, Control], None],
                 quarantine_per_s: float = QUARANTINE_PER_S, earliest_ns: int = EARLIEST_NS) -> None:
        self.venue = venue
        self.quarantine: list[Quarantined] = []
        self.lag = Lag()
        self._catalogue, self._clock, self._stats, self._on_control = catalogue, clock, stats, on_control
        self._ids = catalogue.ids_of((venue.exchange, venue.market_type))
        self._scales = Scales(catalogue, venue)
        self._per_s = self._allowance = quarantine_per_s
        self._allowed_at = clock.monotonic()
        self._not_kept: Gap | None = None  # the while in which frames came that quarantine had no room for
        self._told_ns = 0
        self._earliest = earliest_ns // venue.timestamp_unit_ns

    def parse(self, frames: Frames) -> list[Parsed]:
        """Return the trades in the frames, in their order; the rest is handed on or quarantined."""
        parsed: list[Parsed] = []
        waiting = [(0, len(frames))]
        while waiting:
            first, last = waiting.pop()
            try:
                parsed.append(self._range(frames, first, last))
            except REFUSALS as error:
                if last - first > 1:
                    middle = (first + last) // 2
                    waiting += [(middle, last), (first, middle)]
                else:
                    self._single(frames, first, error, parsed)
        return parsed

    def _range(self, frames: Frames, first: int, last: int) -> Parsed:
        columns = Columns()
        self.venue.parse(frames.array(first, last), columns)
        received_at = frames.received_at(first, last)
        if columns.counts:
            received_at = np.repeat(received_at, columns.counts)
        if len(received_at) != len(columns.symbol):
            raise BadFrame("more or fewer trades than frames")
        parsed = self._build(columns, received_at)
        problem = _first_problem(parsed)
        if problem:
            raise BadFrame(problem)
        return self._in_order(self._from(parsed, frames, first, last, columns.counts), columns.counts)

    def _from(self, parsed: Parsed, frames: Frames, first: int, last: int, counts: list[int]) -> Parsed:
        """Note which connection each row came on, where nothing else tells the trades of two apart."""
        if self.venue.id_kind != IdKind.NONE:
            return parsed
        sources = frames.sources(first, last)
        return replace(parsed, source=np.repeat(sources, counts) if counts else sources)

    def _single(self, frames: Frames, index: int, error: Exception, parsed: list[Parsed]) -> None:
        """Decide about one frame that did not parse: some good trades, control, or quarantine."""
        payload, received_at_ns = frames.payload(index), int(frames.received_at(index, index + 1)[0])
        good = self._good_rows(payload, received_at_ns)
        if good is not None:
            parsed.append(self._from(good, frames, index, index + 1, [len(good.batch)]))
            self._put_away(payload, str(error), received_at_ns)
            return
        try:
            control = self.venue.read_control(payload)
        except REFUSALS:
            control = None
        if control is None:
            self._put_away(payload, str(error) or type(error).__name__, received_at_ns)
            return
        connection, understood = frames.connection(index), control
        guarded(lambda: self._on_control(connection, understood),
                lambda problem: self._put_away(payload, f"{understood.kind}: {problem}", received_at_ns))

    def _good_rows(self, payload: bytes, received_at_ns: int) -> Parsed | None:
        """Return the good trades of a frame in which only some are bad; None when it has none."""
        columns = Columns()
        try:
            self.venue.parse(b"[" + payload + b"]", columns)
            parsed = self._build(columns, np.full(len(columns.symbol), received_at_ns))
        except REFUSALS:
            return None
        good = _good(parsed)
        if not good.any():
            return None
        return self._in_order(parsed.take(good), [int(good.sum())])

    def _in_order(self, parsed: Parsed, counts: list[int]) -> Parsed:
        """Return the rows with the oldest of each frame first."""
        if not self.venue.newest_first or not counts or max(counts) < 2:
            return parsed
        sizes = np.array(counts)
        ends = np.repeat(np.cumsum(sizes), sizes)
        starts = ends - np.repeat(sizes, sizes)
        return parsed.take(starts + ends - 1 - np.arange(len(ends)))

    def _build(self, columns: Columns, received_at: Int64) -> Parsed:
        count = len(columns.symbol)
        try:
            instrument = np.fromiter(map(self._ids.__getitem__, columns.symbol), np.int32, count)
        except KeyError as error:
            raise BadFrame(f"unknown symbol {str(error)[:80]}") from None
        trade_id, text_id = _ids(columns.trade_id, count)
        unit = self.venue.timestamp_unit_ns
        timestamp = np.array(columns.timestamp, np.int64)
        if count:
            earliest, latest = _ends(timestamp)
            if latest > (self._clock.now_ns() + FUTURE_NS) // unit or earliest < self._earliest:
                raise BadFrame("a time out of range, or in another unit")
        price = np.array(columns.price, np.float64)
        quantity = np.array(columns.quantity, np.float64)
        if self._scales.needed():
            price, quantity = self._scales.apply(instrument, price, quantity)
        flags = np.zeros(count, np.uint8)
        for row, bits in columns.flags.items():
            flags[row] = bits
        sequence = np.array(columns.sequence_number, np.int64) if columns.sequence_number else (
            np.full(count, NO_SEQUENCE, np.int64))
        return Parsed(TradeBatch(timestamp * unit, instrument, price, quantity, _side(columns.sell), trade_id, sequence,
                                 received_at, flags, text_id), _mask(columns.void, count), _mask(columns.past, count))

    def gap(self, from_ns: int, to_ns: int, reason: str) -> Gap:
        """Return the gap of a venue whose frames of this time, as we received them, were not read."""
        slack_ns = max(DISORDER_NS, abs(self.lag.ns))
        return Gap(exchange=self.venue.exchange, market_type=self.venue.market_type, symbol="", from_ns=from_ns - slack_ns,
                   to_ns=to_ns + 1, first_id=None, last_id=None, reason=reason)

    def not_kept(self) -> list[Gap]:
        """Return the gap of frames that quarantine had no room for, each time it has grown."""
        if self._not_kept is None or self._not_kept.to_ns <= self._told_ns:
            return []
        self._told_ns = self._not_kept.to_ns
        return [self._not_kept]

    def _put_away(self, payload: bytes, reason: str, received_at_ns: int) -> None:
        venue = self.venue
        self._stats.add("quarantined_frames_total", venue=venue.name)
        now = self._clock.monotonic()
        self._allowance = min(self._per_s, self._allowance + (now - self._allowed_at) * self._per_s)
        self._allowed_at = now
        if self._allowance < 1:
            self._stats.add("quarantined_frames_not_kept_total", venue=venue.name)
            told = self._not_kept or self.gap(received_at_ns, received_at_ns, "unreadable frames, more than quarantine keeps")
            self._not_kept = replace(told, to_ns=max(told.to_ns, received_at_ns + 1))
            return
        if self._allowance == self._per_s:
            self._not_kept = None  # a second of peace: what comes now is another flood
        self._allowance -= 1
        self.quarantine.append(Quarantined(at_ns=self._clock.now_ns(), exchange=venue.exchange, reason=reason,
                                           market_type=venue.market_type, payload=payload[:KEPT_BYTES]))


class Scales:
    """What turns a venue's own numbers into prices and base quantities, by instrument.

    Multiplies by the contract size as a fraction of whole numbers (3 contracts of 0.0001 are 3 * 1 / 10000), which is rounded
    once and so gives the number the decimal digits mean.
    """

    def __init__(self, catalogue: Catalogue, venue: Venue) -> None:
        self._catalogue, self._venue = catalogue, venue
        self._known = -1  # the catalogue's revision
        self._numerator = self._denominator = self._divisor = np.ones(0)
        self._plain = True

    def needed(self) -> bool:
        """Return whether any instrument's numbers have to be scaled."""
        catalogue = self._catalogue
        if catalogue.revision != self._known:
            self._known = catalogue.revision
            self._read(catalogue)
        return not self._plain

    def _read(self, catalogue: Catalogue) -> None:
        key = (self._venue.exchange, self._venue.market_type)
        self._numerator, self._denominator, self._divisor = np.ones((3, len(catalogue)))
        for number, venue in enumerate(catalogue.venues):
            if venue == key:
                one = catalogue.instruments[number]
                self._divisor[number] = one.price_divisor
                if one.contract_size != 1:
                    size = Decimal(repr(one.contract_size)).as_integer_ratio()
                    self._numerator[number], self._denominator[number] = size
        self._plain = self._venue.quantity_unit == QuantityUnit.BASE and bool(
            (self._divisor == 1).all() and (self._numerator == self._denominator).all())

    def apply(self, instrument: NDArray[np.int32], price: NDArray[np.float64],
              quantity: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (price, quantity in base units)."""
        return (price / self._divisor[instrument],
                quantity * self._numerator[instrument] / self._denominator[instrument])


def _ids(ids: list[int] | list[str], count: int) -> tuple[Int64, NDArray[np.bytes_] | None]:
    if count and isinstance(ids[0], str):
        return np.full(count, -1, np.int64), _texts(ids)
    return np.array(ids, np.int64), None


def _texts(ids: list[Any]) -> NDArray[np.bytes_]:
    """Return texts as fixed-width bytes; those of one length, as UUIDs are, at a third of the cost."""
    joined = "".join(ids)
    if not joined.isascii():
        return np.array([text.encode() for text in ids])
    lengths = set(map(len, ids))
    if len(lengths) == 1 and joined:
        return np.frombuffer(joined.encode(), f"S{len(ids[0])}")
    return np.array(ids, f"S{max(lengths)}")


def _side(sells: list[Any]) -> NDArray[np.uint8]:
    """Return 1 where the taker sold; bytes are made at a third of the cost of an array."""
    try:
        numbers = bytes(sells)
    except TypeError:  # None among them
        numbers = bytes(map(bool, sells))
    sold: NDArray[np.bool_] = np.frombuffer(numbers, np.uint8) != 0
    return sold.view(np.uint8)


def _ends(numbers: NDArray[Any]) -> tuple[Any, Any]:
    """Return the lowest and the highest number, NaN for both where there is one; for few at a fifth of the cost of `min`."""
    return numbers[numbers.argmin()], numbers[numbers.argmax()]


def _mask(rows: list[int], count: int) -> NDArray[np.bool_] | None:
    if not rows:
        return None
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask


def _good(parsed: Parsed) -> NDArray[np.bool_]:
    batch = parsed.batch
    good: NDArray[np.bool_] = ((batch.price > 0) & (batch.price < np.inf) & (batch.quantity > 0) & (batch.quantity < np.inf))
    return good if parsed.void is None else good | parsed.void


def _first_problem(parsed: Parsed) -> str:
    """Return what is wrong with the first bad row; nothing where all are good, which their extremes tell mostly."""
    batch = parsed.batch
    if not len(batch):
        return ""
    (cheapest, dearest), (least, most) = _ends(batch.price), _ends(batch.quantity)
    if cheapest > 0 and dearest < np.inf and least > 0 and most < np.inf:
        return ""
    good = _good(parsed)
    if good.all():
        return ""
    row = int(np.argmin(good))
    return f"a price of {batch.price[row]} or a quantity of {batch.quantity[row]} is no trade (row {row})"
