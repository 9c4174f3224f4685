"""Replays recorded frames with unchanged bytes, ids and times, at the recorded pace or another.

A file has one JSON object per line with `raw` (the frame) and `received_ns`, and may be gzipped. Frames of several files
of a venue are merged by `received_ns`. The venue's dialect reads the trades of a frame.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pumpwatch.errors import ConfigError
from pumpwatch.sim.dialect import Dialect, TapeTrade
from pumpwatch.sim.options import TapeOptions
from pumpwatch.sim.rows import Rows, SymbolSpec
from pumpwatch.sim.venue import RecordedPayloads, SimVenue

QUOTES = ("USDT", "USDC", "BTC", "ETH", "USD")


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame with its trades. Frames without a trade are left out of the tape."""

    received_ns: int
    raw: bytes
    trades: list[TapeTrade]


def read_tape(dialect: Dialect, files: list[str]) -> list[RecordedFrame]:
    """Read recordings, sorted by time. Raises ConfigError that names the file and line that cannot be read."""
    tape = []
    for name in files:
        path = Path(name).expanduser()
        try:
            blob = path.read_bytes()
            lines = (gzip.decompress(blob) if path.suffix == ".gz" else blob).splitlines()
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the tape: {error}") from error
        for number, line in enumerate(lines, 1):
            try:
                recorded = json.loads(line)
                raw = recorded["raw"].encode()
                trades = dialect.read_tape(raw)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(f"{path}:{number}: not a recorded frame of {dialect.name}: {error!r}",
                                  "a line is a JSON object with `raw` and `received_ns`") from error
            if trades:
                tape.append(RecordedFrame(int(recorded.get("received_ns", number)), raw, trades))
    return sorted(tape, key=lambda frame: frame.received_ns)


def tape_specs(dialect: Dialect, files: list[str]) -> list[SymbolSpec]:
    """Return the symbols of recordings, with the decimals that their digits need."""
    found: dict[str, tuple[float, int, int]] = {}
    for recorded in read_tape(dialect, files):
        for trade in recorded.trades:
            first, price, quantity = found.get(trade.symbol, (float(trade.price), 0, 0))
            found[trade.symbol] = first, max(price, _decimals(trade.price)), max(quantity, _decimals(trade.quantity))
    specs = []
    for symbol, (first, price, quantity) in found.items():
        plain = symbol.replace("-", "").replace("_", "")
        quote = next((quote for quote in QUOTES if plain.endswith(quote)), "USDT")
        base = plain.removesuffix(quote)
        specs.append(SymbolSpec(symbol=symbol, coin=base, base=base, quote=quote, price=first, price_decimals=price,
                                quantity_decimals=quantity))
    return specs or list(dialect.symbols([]))


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


class RecordingSource:
    """Replays a venue's recordings once."""

    def __init__(self, venue: SimVenue, options: TapeOptions) -> None:
        self.rate = options.rate
        self._venue = venue
        self._speed = options.speed
        self._tape = read_tape(venue.dialect, options.files.get(venue.name, []))
        self._payloads = [frame.raw for frame in self._tape]
        counts = [len(frame.trades) for frame in self._tape]
        self._payload_of = np.repeat(np.arange(len(self._tape)), counts)
        self._ends = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._rows = _rows_of(venue, [trade for frame in self._tape for trade in frame.trades])
        received = np.array([frame.received_ns for frame in self._tape], np.int64)
        self._offsets = (received - received[0]) / 1e9 if len(received) else received.astype(float)
        self._played_s = self._due = 0.0
        self._next_frame = 0

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Replay the frames that are due."""
        if self.rate:
            self._due += self.rate * seconds
            end = min(int(self._due), len(self._tape))
        else:
            self._played_s += seconds * self._speed
            end = int(np.searchsorted(self._offsets, self._played_s, side="right"))
        if end > self._next_frame:
            rows = slice(self._ends[self._next_frame], self._ends[end])
            self._next_frame = end
            self._venue.deliver(self._rows.take(rows), RecordedPayloads(self._payloads, self._payload_of[rows]))

    def prepare(self) -> None:
        """Do nothing: the tape was read at the start."""

    def behind(self) -> int:
        """Return 0: a tape is never late."""
        return 0

    def finished(self) -> bool:
        """Return whether the tape has ended."""
        return self._next_frame >= len(self._tape)


def _rows_of(venue: SimVenue, trades: list[TapeTrade]) -> Rows:
    table = venue.table
    symbol = np.array([table.index[trade.symbol] for trade in trades], np.int32)
    places = [(table.specs[number].price_decimals, table.specs[number].quantity_decimals) for number in symbol.tolist()]
    price = [_units(trade.price, place) for trade, (place, _) in zip(trades, places, strict=True)]
    quantity = [_units(trade.quantity, place) for trade, (_, place) in zip(trades, places, strict=True)]
    return Rows(table, symbol, np.array([trade.trade_id for trade in trades], np.int64),
                np.array([trade.timestamp_ns for trade in trades], np.int64), np.array(price, np.int64),
                np.array(quantity, np.int64), np.array([trade.sell for trade in trades], np.bool_),
                np.array([trade.flags for trade in trades], np.uint8))


def _units(text: str, decimals: int) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(decimals, "0"))
