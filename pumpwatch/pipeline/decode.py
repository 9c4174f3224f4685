"""Decode text frames of one venue with the collector's own parser, for `pumpwatch decode`.

Symbols need not be known: without an instrument list a contract counts as one base unit. Rows that a venue omits from its own
trade history (insurance fund, ADL) are not printed; the collector stores them with a flag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S, Clock
from pumpwatch.errors import REFUSALS, UsageError
from pumpwatch.model import NO_SEQUENCE, SIDES, Columns, Control, Flag, Instrument, QuantityUnit, TradeBatch
from pumpwatch.net.frames import Frames, next_source_number
from pumpwatch.pipeline.parse import EARLIEST_NS, VenueParser
from pumpwatch.stats import Stats
from pumpwatch.venue import Venue

COARSER = ((NS_PER_S, "seconds"), (NS_PER_MS, "milliseconds"), (1000, "microseconds"))


class Decoder:
    """One venue's parser, with a catalogue to which each new symbol is added.

    refused: (line, reason) of each rejected frame. guessed: the symbols whose contract counts as one base unit because there is
    no list. The decoder is the source of its frames, so that it can count control frames.
    """

    def __init__(self, venue: Venue, instruments: bytes | None = None) -> None:
        self.refused: list[tuple[int, str]] = []
        self.guessed: set[str] = set()
        self.trades = self.controls = 0
        self.source_number = next_source_number()
        self._venue = venue
        self._key = (venue.exchange, venue.market_type)
        self._catalogue, self._clock = Catalogue(), Clock()
        self._parser = VenueParser(venue, self._catalogue, self._clock, Stats(),
                                   quarantine_per_s=1e12, earliest_ns=0)
        if instruments is not None:
            self._add_all(instruments)

    def _add_all(self, body: bytes) -> None:
        try:
            listed = self._venue.parse_instruments([body])
        except REFUSALS as error:
            raise UsageError(f"--instruments: not a symbol list of {self._venue.name}: {error}",
                             "give the unchanged body of the venue's own symbol list") from error
        for instrument in listed:
            self._catalogue.add(self._key, instrument)

    def lines(self, lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
        """Yield the trades of each line: a raw frame, or JSON with the frame in `raw`, which adds its number as `line`."""
        for number, line in enumerate(lines, 1):
            text = line.encode() if isinstance(line, str) else line
            if not text.strip():
                continue
            inner = raw_of(text)
            for trade in self.frame(inner if inner is not None else text.strip(), number):
                yield {**trade, "line": number} if inner is not None else trade

    def frame(self, payload: bytes, line: int = 0) -> list[dict[str, Any]]:
        """Return the trades of one frame; a rejected frame is recorded in `refused`."""
        problem = self._add_symbols(payload)
        if problem:
            self.refused.append((line, problem))
            return []
        frames = Frames(memoryview(b"[" + payload + b"]"), [len(payload) + 1], [1], [self._clock.now_ns()], [self])
        before = len(self._parser.quarantine)
        trades: list[dict[str, Any]] = []
        for parsed in self._parser.parse(frames):
            batch = parsed.batch if parsed.void is None else parsed.batch.take(~parsed.void)
            if self._venue.newest_first:  # printed in the order of the frame
                batch = batch.take(slice(None, None, -1))
            trades += self._rows(batch.take(batch.flags & Flag.outside_market() == 0))
        self.refused += [(line, quarantined.reason) for quarantined in self._parser.quarantine[before:]]
        self._parser.quarantine.clear()
        self.trades += len(trades)
        return trades

    def _add_symbols(self, payload: bytes) -> str:
        """Add a frame's new symbols; return a problem with the unit of its times, or an empty text."""
        columns = Columns()
        try:
            self._venue.parse(b"[" + payload + b"]", columns)
        except REFUSALS:
            return ""
        for unit, name in COARSER:
            early = EARLIEST_NS // unit
            if unit > self._venue.timestamp_unit_ns and any(early <= at < 4 * early for at in columns.timestamp):
                return f"a time in {name} where a smaller unit is expected"
        known = self._catalogue.ids_of(self._key)
        for symbol in columns.symbol:
            if symbol not in known and (instrument := self._unlisted(symbol)) is not None:
                self._catalogue.add(self._key, instrument)
        return ""

    def _unlisted(self, symbol: str) -> Instrument | None:
        if self._venue.unlisted is not None:
            return self._venue.unlisted(symbol)
        if self._venue.quantity_unit == QuantityUnit.CONTRACTS:
            self.guessed.add(symbol)
        return Instrument(symbol=symbol, base=symbol, quote="")

    def receive_control(self, control: Control) -> None:
        """Count a known frame without trades."""
        self.controls += 1

    def receive_trades(self, received_at_ns: int, traded_ns: int) -> None:
        """Ignore the time: nothing waits for the trades of a recording."""

    def _rows(self, batch: TradeBatch) -> list[dict[str, Any]]:
        rows = zip(batch.instrument.tolist(), batch.side.tolist(), batch.price.tolist(), batch.quantity.tolist(),
                   batch.id_texts(), batch.sequence_number.tolist(), batch.timestamp.tolist(), strict=True)
        return [{"exchange": self._venue.exchange, "market_type": self._venue.market_type,
                 "symbol": self._catalogue.instruments[number].symbol, "side": SIDES[side], "price": price,
                 "quantity": quantity, "trade_id": trade_id,
                 "sequence_number": None if sequence == NO_SEQUENCE else sequence, "timestamp": timestamp}
                for number, side, price, quantity, trade_id, sequence, timestamp in rows]


def raw_of(text: bytes) -> bytes | None:
    """Return the frame inside a JSON line with `raw`; None if the line itself is the frame."""
    if b'"raw"' not in text:
        return None
    try:
        line = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    raw = line.get("raw") if isinstance(line, dict) else None
    return raw.encode() if isinstance(raw, str) else None
