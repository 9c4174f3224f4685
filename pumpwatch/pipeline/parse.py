"""Turn a venue's frames into batches of trades.

The plugin's `parse` is called once for all waiting frames, up to some thousands. If it rejects them, the range is halved until
each frame without trades is alone: it is a control frame, or goes to quarantine with the reason. So a venue that only sends
trades costs one call per turn, and an unreadable frame costs a few more calls and stops nothing.
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
from pumpwatch.model import DISORDER_NS, NO_SEQUENCE, Columns, Flag, Gap, IdKind, Int64, QuantityUnit, TradeBatch
from pumpwatch.net.frames import Frames
from pumpwatch.net.lag import Lag
from pumpwatch.pipeline.scan import Scan
from pumpwatch.printable import printable
from pumpwatch.records import KEPT_BYTES, Quarantined
from pumpwatch.stats import Stats
from pumpwatch.venue import Venue

# [2009, 2100): no venue is older, and a time in the wrong unit falls outside. Our own clock is not used: if it were days behind,
# every trade would be in the future.
EARLIEST_NS, LATEST_NS = 1_230_768_000 * 10**9, 4_102_444_800 * 10**9
QUARANTINE_PER_S = 20.0  # frames per venue; more frames are only counted and become a gap


@dataclass(frozen=True, slots=True)
class Parsed:
    """Trades of one venue. void: rows that only use up an id. past: rows sent as history. None means no such row.

    frame: the number of each row's frame, if the venue has no ids; the rows of a frame are adjacent. settled: the times to use if
    some rows are dated hours ahead of the others. source: the number of each row's connection, if the venue has no ids or two
    connections bring the same trades.
    """

    batch: TradeBatch
    void: NDArray[np.bool_] | None
    past: NDArray[np.bool_] | None
    frame: NDArray[np.intp] | None = None
    settled: Int64 | None = None
    source: Int64 | None = None

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Parsed:
        """Return these rows."""
        columns = (None if column is None else column[rows]
                   for column in (self.void, self.past, self.frame, self.settled, self.source))
        return Parsed(self.batch.take(rows), *columns)  # type: ignore[arg-type]


class VenueParser:
    """Parses the frames of one venue; control frames go to the source that they came from. The venue's reader updates `lag`."""

    def __init__(self, venue: Venue, catalogue: Catalogue, clock: Clock, stats: Stats, lag: Lag | None = None,
                 quarantine_per_s: float = QUARANTINE_PER_S, earliest_ns: int = EARLIEST_NS) -> None:
        self.venue = venue
        self.quarantine: list[Quarantined] = []
        self.lag = lag or Lag()
        self.behind_since_ns = 0  # received frames may have waited since then; 0: they were sent just now
        self._catalogue, self._clock, self._stats = catalogue, clock, stats
        self._ids = catalogue.ids_of((venue.exchange, venue.market_type))
        self._scales = Scales(catalogue, venue)
        self._per_s = self._allowance = quarantine_per_s
        self._allowed_at = clock.monotonic()
        self._not_kept: tuple[int, int] | None = None  # first and last time of frames that did not fit into quarantine
        self._reported_ns = 0
        self._reported: Gap | None = None
        self._rejected = self._rejected_not_kept = 0  # frames since the last `count`
        self._earliest, self._latest = earliest_ns // venue.timestamp_unit_ns, LATEST_NS // venue.timestamp_unit_ns

    def parse(self, frames: Frames) -> list[Parsed]:
        """Return the trades of all frames in order; deliver control frames and quarantine all others."""
        scan, parsed = Scan(frames), list[Parsed]()
        while scan.at < scan.count:
            read = self.advance(scan)
            if read is not None:
                parsed.append(read)
        self.count()
        return parsed

    def advance(self, scan: Scan) -> Parsed | None:
        """Read the next range; return None if a shorter range is needed, or for a frame without a good trade."""
        first, last = scan.range()
        if last - first == 1:
            read, whole = self._single(scan.frames, first)
            scan.accept(last) if whole else scan.skip()
            return read
        columns = Columns()
        try:
            self.venue.parse(scan.frames.array(first, last), columns)
            parsed = self._built(columns, scan.frames, first, last)
        except REFUSALS:
            scan.reject(last)
            return None
        scan.accept(last)
        return parsed

    def _built(self, columns: Columns, frames: Frames, first: int, last: int) -> Parsed:
        """Return the trades in the columns of these frames. Raises one of REFUSALS if any row cannot be a trade."""
        counts, frame, source = columns.counts, None, None
        received_at = frames.received_at(first, last)
        if self.venue.id_kind is IdKind.NONE:
            frame, source = np.arange(len(received_at)), frames.source_numbers(first, last)
            frame, source = (np.repeat(frame, counts), np.repeat(source, counts)) if counts else (frame, source)
        elif frames.doubled:
            source = frames.source_numbers(first, last)
            source = np.repeat(source, counts) if counts else source
        if counts:
            received_at = np.repeat(received_at, counts)
        if len(received_at) != len(columns.symbol):
            raise BadFrame("the number of trades does not match the frames")
        parsed = self._build(columns, received_at, frame, source)
        problem = _first_problem(parsed)
        if problem:
            raise BadFrame(problem)
        return self._in_order(parsed, counts)

    def _single(self, frames: Frames, index: int) -> tuple[Parsed | None, bool]:
        """Return the trades of one frame, and whether they are the whole frame; deliver or quarantine the rest."""
        columns = Columns()
        try:
            self.venue.parse(frames.array(index, index + 1), columns)
        except REFUSALS as error:
            self._not_a_trade(frames, index, error)
            return None, False
        if not columns.symbol and not columns.counts:
            self._not_a_trade(frames, index, BadFrame("the frame is empty"))
            return None, False
        try:
            return self._built(columns, frames, index, index + 1), True
        except REFUSALS as error:
            good = self._good_rows(columns, frames.read_at_ns(index), frames.source(index).source_number)
            if good is None:
                self._not_a_trade(frames, index, error)
            else:
                self._quarantine(frames.payload(index), error, frames.read_at_ns(index))
            return good, False

    def _not_a_trade(self, frames: Frames, index: int, error: Exception) -> None:
        """Deliver a control frame to its source; quarantine any other frame."""
        payload, received_at_ns = frames.payload(index), frames.read_at_ns(index)
        try:
            control = self.venue.read_control(payload)
        except REFUSALS:
            control = None
        if control is None:
            self._quarantine(payload, error, received_at_ns)
            return
        try:
            frames.source(index).receive_control(replace(control, reason=printable(control.reason)))
        except Exception as problem:  # an error caused by a control frame must not cost the trades after it
            self._quarantine(payload, f"{control.kind}: {problem}", received_at_ns)

    def _good_rows(self, columns: Columns, received_at_ns: int, source: int) -> Parsed | None:
        """Return the good trades of a frame with bad ones; None without good trades."""
        try:
            count = len(columns.symbol)
            parsed = self._build(columns, np.full(count, received_at_ns), np.zeros(count, np.intp), np.full(count, source))
        except REFUSALS:
            return None
        good = _good(parsed)
        if not good.any():
            return None
        return self._in_order(parsed.take(good), [int(good.sum())])

    def _in_order(self, parsed: Parsed, counts: list[int]) -> Parsed:
        """Return the rows of each frame oldest first."""
        if not self.venue.newest_first or not counts or max(counts) < 2:
            return parsed
        sizes = np.array(counts)
        ends = np.repeat(np.cumsum(sizes), sizes)
        starts = ends - np.repeat(sizes, sizes)
        return parsed.take(starts + ends - 1 - np.arange(len(ends)))

    def history(self, body: bytes, symbol: str, read: Callable[[bytes, str, Columns], None]) -> Parsed:
        """Return the good rows of a history's answer, oldest first, flagged BACKFILLED and received now.

        read: the plugin's function for this answer. Raises one of REFUSALS if the answer is something else, or has rows of other
        symbols.
        """
        columns = Columns()
        read(body, symbol, columns)
        others = set(columns.symbol) - {symbol}
        if others:
            raise BadFrame(f"the history has rows of other symbols, such as {printable(str(min(others)))[:80]}")
        parsed = self._build(columns, np.full(len(columns.symbol), self._clock.now_ns()), None, None)
        good = _good(parsed)
        parsed = parsed if good.all() else parsed.take(good)
        batch = parsed.batch
        if self.venue.id_kind in (IdKind.CONTIGUOUS, IdKind.MONOTONIC) and batch.text_id is None:
            parsed = parsed.take(np.argsort(batch.trade_id, kind="stable"))
        else:
            backwards = len(batch) > 1 and batch.timestamp[0] > batch.timestamp[-1]
            parsed = parsed.take(np.arange(len(batch))[::-1]) if backwards else parsed
            parsed = parsed.take(np.argsort(parsed.batch.timestamp, kind="stable"))
        return replace(parsed, batch=replace(parsed.batch, flags=parsed.batch.flags | np.uint8(Flag.BACKFILLED)))

    def _build(self, columns: Columns, received_at: Int64, frame: NDArray[np.intp] | None, source: Int64 | None) -> Parsed:
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
            if latest >= self._latest or earliest < self._earliest:
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
                                 received_at, flags, text_id), _mask(columns.void, count), _mask(columns.past, count), frame,
                      source=source)

    def gap(self, from_ns: int, to_ns: int, reason: str) -> Gap:
        """Return the gap for frames of the venue that were received in this time but not read."""
        slack_ns = DISORDER_NS + abs(self.lag.ns)  # trades have the venue's time, which may differ from ours by days
        from_ns = min(from_ns, self.behind_since_ns or from_ns)
        return Gap(exchange=self.venue.exchange, market_type=self.venue.market_type, from_ns=from_ns - slack_ns,
                   to_ns=to_ns + slack_ns, reason=reason)

    def not_kept(self) -> list[Gap]:
        """Return the gap of frames that did not fit into quarantine, if it has grown; else an empty list."""
        if self._not_kept is None or self._not_kept[1] <= self._reported_ns:
            return []
        self._reported_ns = self._not_kept[1]
        gap = self.gap(*self._not_kept, "unreadable frames, more than quarantine keeps")
        if self._reported and self._reported.from_ns <= gap.from_ns + DISORDER_NS:  # it is the same gap
            gap = replace(self._reported, to_ns=max(self._reported.to_ns, gap.to_ns))
        self._reported = gap
        return [gap]

    def count(self) -> None:
        """Update the counters of quarantined frames."""
        if self._rejected:
            self._stats.add("quarantined_frames_total", self._rejected, venue=self.venue.name)
        if self._rejected_not_kept:
            self._stats.add("quarantined_frames_not_kept_total", self._rejected_not_kept, venue=self.venue.name)
        self._rejected = self._rejected_not_kept = 0

    def give_up(self, frames: Frames, first: int, last: int, reason: str) -> Gap:
        """Quarantine frames as a whole: count all of them, keep the first, and return the gap of their time."""
        self._rejected += last - first
        self._rejected_not_kept += last - first - 1
        self.quarantine.append(self._quarantined(frames.payload(first), f"{reason} frames={last - first}"))
        read_at = frames.received_at(first, last)  # not ascending: frames that waited keep the time of their read
        return self.gap(int(read_at.min()), int(read_at.max()), printable(reason))

    def _quarantine(self, payload: bytes, reason: Exception | str, received_at_ns: int) -> None:
        self._rejected += 1
        now = self._clock.monotonic()
        self._allowance = min(self._per_s, self._allowance + (now - self._allowed_at) * self._per_s)
        self._allowed_at = now
        if self._allowance < 1:
            self._rejected_not_kept += 1
            began, ended = self._not_kept or (received_at_ns, received_at_ns)
            self._not_kept = min(began, received_at_ns), max(ended, received_at_ns)
            return
        if self._allowance == self._per_s:
            self._not_kept = self._reported = None  # after a second without bad frames, another flood begins
        self._allowance -= 1
        self.quarantine.append(self._quarantined(payload, str(reason) or type(reason).__name__))

    def _quarantined(self, payload: bytes, reason: str) -> Quarantined:
        return Quarantined(at_ns=self._clock.now_ns(), exchange=self.venue.exchange, market_type=self.venue.market_type,
                           reason=printable(reason), payload=payload[:KEPT_BYTES])


class Scales:
    """Converts a venue's numbers into prices and base quantities, by instrument.

    The contract size is a fraction of integers (3 contracts of 0.0001 are 3 * 1 / 10000). This rounds only once, and so gives
    the float nearest to the exact decimal.
    """

    def __init__(self, catalogue: Catalogue, venue: Venue) -> None:
        self._catalogue, self._venue = catalogue, venue
        self._known = -1  # the catalogue's revision
        self._numerator = self._denominator = self._divisor = np.ones(0)
        self._plain = True

    def needed(self) -> bool:
        """Return whether any instrument needs scaling."""
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
                instrument = catalogue.instruments[number]
                self._divisor[number] = instrument.price_divisor
                if instrument.contract_size != 1:
                    size = Decimal(repr(instrument.contract_size)).as_integer_ratio()
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
    """Return texts as fixed-width bytes. Texts of equal length, such as UUIDs, cost only a third."""
    joined = "".join(ids)
    if not joined.isascii():
        return np.array([text.encode() for text in ids])
    lengths = set(map(len, ids))
    if len(lengths) == 1 and joined:
        return np.frombuffer(joined.encode(), f"S{len(ids[0])}")
    return np.array(ids, f"S{max(lengths)}")


def _side(sells: list[Any]) -> NDArray[np.uint8]:
    """Return 1 where the taker sold. The conversion through bytes costs only a third."""
    try:
        numbers = bytes(sells)
    except TypeError:  # None among them
        numbers = bytes(map(bool, sells))
    sold: NDArray[np.bool_] = np.frombuffer(numbers, np.uint8) != 0
    return sold.view(np.uint8)


def _ends(numbers: NDArray[Any]) -> tuple[Any, Any]:
    """Return the lowest and the highest number, or NaN twice if any is NaN; much faster than `min` on short arrays."""
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
    """Return a message about the first bad row, or an empty text. The extremes usually show that all rows are good."""
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
    return f"a price of {batch.price[row]} or a quantity of {batch.quantity[row]} is not a trade (row {row})"
