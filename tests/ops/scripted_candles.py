"""A venue whose candles a test writes."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from pumpwatch.model import Instrument
from pumpwatch.ops.candle_check import CandleCheck
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.venue import Candle, Candles, HttpRequest
from tests.ops.minute_folder import FIRST

NOW_NS = (FIRST + 100) * MINUTE_NS
COIN = Instrument(symbol="AUSDT", base="A", quote="USDT", contract_size=10.0)
CANDLE = Candle(start_ns=FIRST * MINUTE_NS, open=2, high=3, low=1, close=2, volume=5.0, quote_volume=10.0, trades=4)


class ScriptedVenue:
    """A venue whose candles are given by minute as (volume, trades)."""

    def __init__(self, candles: dict[int, tuple[float, int]], *, tolerance: float = 0.0, rows: int = 3, reach_s: float = 1e9,
                 answer: Any = None) -> None:
        self.asked: list[tuple[int, int]] = []
        self._candles, self._answer = candles, answer
        self.venue: Any = SimpleNamespace(name="alpha.spot", exchange="alpha", market_type="spot", candles=Candles(
            request=self._request, parse=self._parse, rows_per_request=rows, reach_s=reach_s, tolerance=tolerance,
            why="block trades"))

    def _request(self, symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
        return HttpRequest("/candles", {"symbol": symbol, "start": start_ns, "end": end_ns})

    def _parse(self, body: bytes, instrument: Instrument) -> list[Candle]:
        return [replace(CANDLE, start_ns=start_ns, volume=volume * instrument.contract_size, trades=trades)
                for start_ns, volume, trades in json.loads(body)]

    def ask(self, request: HttpRequest) -> bytes:
        first, end = int(request.params["start"]) // MINUTE_NS, int(request.params["end"]) // MINUTE_NS
        self.asked.append((first - FIRST, end - FIRST))
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer is not None:
            return bytes(self._answer)
        return json.dumps([[(FIRST + minute) * MINUTE_NS, *self._candles[minute]] for minute in range(first - FIRST, end - FIRST)
                           if minute in self._candles]).encode()

    def check(self) -> CandleCheck:
        return CandleCheck(self.venue, self.ask, NOW_NS)
