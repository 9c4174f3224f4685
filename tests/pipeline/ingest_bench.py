"""An ingest with two venues, for the tests of what it does with frames."""

from __future__ import annotations

import json

from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.model import Instrument, TradeBatch
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from tests.net.frame_bytes import frame
from tests.pipeline.heard import heard_connection

SPOT, FUTURES = VENUES[0], VENUES[1]


class Bench:
    """An ingest with a connection for each of two venues, and what came out of it."""

    def __init__(self, *symbols: str, tick_ms: float = 1.0, tick_frames: int = 5000) -> None:
        self.catalogue, self.stats = Catalogue(), Stats()
        self.batches: list[TradeBatch] = []
        self.records = Records()
        self.ingest = Ingest(self.catalogue, Clock(), self.stats, tick_ms, tick_frames, self._put)
        self.connections = {}
        for venue in (SPOT, FUTURES):
            for symbol in symbols or ("BTCUSDT", "ETHUSDT"):
                self.catalogue.add((venue.exchange, venue.market_type),
                                   Instrument(symbol=symbol, base=symbol[:-4], quote="USDT"))
            connection = heard_connection(self.ingest.add_venue(venue), [])
            self.connections[venue.market_type] = connection

    def _put(self, batch, records) -> None:
        if batch is not None:
            self.batches.append(batch)
        self.records.extend(records)

    def send(self, market_type: str, *payloads: str | bytes) -> None:
        connection = self.connections[market_type]
        data = b"".join(frame(one.encode() if isinstance(one, str) else one) for one in payloads)
        connection.stream.chunks += [data[at : at + 200_000] for at in range(0, len(data), 200_000)]
        while connection.stream.chunks:
            connection.sweep(Clock().now_ns())

    def turn(self) -> TradeBatch:
        """Read all there is, however long it takes on this machine."""
        before = len(self.batches)
        self.ingest.finish(3600.0)
        return TradeBatch.concat(self.batches[before:])

    def slice(self) -> TradeBatch:
        """Read for as long as a turn has for each venue."""
        before = len(self.batches)
        self.ingest.turn()
        return TradeBatch.concat(self.batches[before:])


def trade(number: int, symbol: str = "BTCUSDT", price: str = "1.5", kind: str = "MARKET", at_ms: int = 1_700_000_000_000) -> str:
    return json.dumps({"e": "trade", "E": at_ms, "T": at_ms, "s": symbol, "t": number, "p": price, "q": "2", "X": kind,
                       "m": True})
