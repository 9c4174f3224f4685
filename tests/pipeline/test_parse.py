"""Frames to columns: good trades pass whatever stands beside them, and everything else is delivered, quarantined or counted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import BadFrame
from pumpwatch.model import Columns, ControlKind, Flag, Instrument, QuantityUnit
from pumpwatch.net.frames import Frames
from pumpwatch.pipeline.parse import Scales, VenueParser
from pumpwatch.stats import Stats
from tests.pipeline.heard import HeardSource

SPOT = VENUES[0]
AT_NS = 1_795_000_000 * NS_PER_S


class Bench:
    """A parser of Binance spot that knows BTCUSDT, and the source of all its frames."""

    def __init__(self, quarantine_per_s: float = 20.0) -> None:
        self.catalogue, self.stats, self.source = Catalogue(), Stats(), HeardSource()
        self.catalogue.add(("binance", "spot"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
        self.parser = VenueParser(SPOT, self.catalogue, Clock(), self.stats, quarantine_per_s=quarantine_per_s)

    def ids_of(self, *payloads: str) -> list[int]:
        """Parse these frames as one read; return the ids of their trades."""
        texts = [payload.encode() for payload in payloads]
        stops = [sum(len(text) + 1 for text in texts[:number]) for number in range(1, len(texts) + 1)]
        frames = Frames(memoryview(b"[" + b",".join(texts) + b"]"), stops, [len(stops)], [AT_NS], [self.source])
        return [number for parsed in self.parser.parse(frames) for number in parsed.batch.trade_id.tolist()]


def trade(number: int, price: str = "1.5", symbol: str = "BTCUSDT", at_ms: int = AT_NS // 10**6) -> str:
    return json.dumps({"e": "trade", "E": at_ms, "T": at_ms, "s": symbol, "t": number, "p": price, "q": "2", "X": "MARKET",
                       "m": True})


def test_trades_pass_in_their_order_and_a_control_frame_between_them_reaches_its_source():
    bench = Bench()
    assert bench.ids_of(trade(1), '{"result":null,"id":7}', trade(2), trade(3)) == [1, 2, 3]
    assert [control.kind for control in bench.source.controls] == [ControlKind.ACK]
    assert bench.parser.quarantine == []


@pytest.mark.parametrize("bad", [trade(9, price="0"), trade(9, price="-1"), trade(9, symbol="XYZUSDT"),
                                 trade(9, at_ms=AT_NS // 10**9), '{"e":"trade"}', '{"e":"trade","p":[]}'],
                         ids=["price 0", "price below 0", "unknown symbol", "time in seconds", "fields missing", "wrong type"])
def test_a_bad_frame_is_quarantined_with_a_reason_and_costs_none_of_its_neighbours(bad: str):
    bench = Bench()
    assert bench.ids_of(trade(1), bad, trade(2)) == [1, 2]
    (kept,) = bench.parser.quarantine
    assert kept.payload == bad.encode() and kept.reason
    assert bench.stats.get("quarantined_frames_total", venue=SPOT.name) == 1


def test_frames_beyond_the_quarantines_allowance_are_counted_and_lie_in_a_gap_reported_once():
    bench = Bench(quarantine_per_s=1.0)
    bench.ids_of(*['{"odd":1}'] * 5)
    assert len(bench.parser.quarantine) == 1
    assert bench.stats.get("quarantined_frames_not_kept_total", venue=SPOT.name) == 4
    (gap,) = bench.parser.not_kept()
    assert gap.from_ns < AT_NS < gap.to_ns and gap.symbol == ""
    assert bench.parser.not_kept() == []


def test_a_gap_is_wider_by_the_lag_so_that_it_holds_the_venues_own_times():
    bench = Bench()
    narrow = bench.parser.gap(AT_NS, AT_NS, "x")
    bench.parser.lag.ns = -3600 * NS_PER_S
    wide = bench.parser.gap(AT_NS, AT_NS, "x")
    assert narrow.from_ns - wide.from_ns == wide.to_ns - narrow.to_ns == 3600 * NS_PER_S


def test_contracts_become_base_units_exactly_and_prices_lose_their_divisor():
    catalogue, venue = Catalogue(), replace(SPOT, quantity_unit=QuantityUnit.CONTRACTS)
    number = catalogue.add(("binance", "spot"), Instrument(
        symbol="A", base="A", quote="USDT", contract_size=0.0001, price_divisor=1000))
    scales = Scales(catalogue, venue)
    assert scales.needed()
    price, quantity = scales.apply(np.array([number], np.int32), np.array([1500.0]), np.array([3.0]))
    assert (price.tolist(), quantity.tolist()) == ([1.5], [0.0003])


def read(body: bytes, symbol: str, columns: Columns) -> None:
    rows = json.loads(body)
    columns.symbol = [row.get("s", symbol) for row in rows]
    columns.trade_id, columns.timestamp = [row["t"] for row in rows], [row["at"] for row in rows]
    columns.price, columns.quantity = [row["p"] for row in rows], [1.0] * len(rows)
    columns.sell = [False] * len(rows)


def history(*rows: dict[str, object]) -> bytes:
    return json.dumps([{"t": 1, "at": AT_NS // 10**6, "p": 1.5, **row} for row in rows]).encode()


def test_a_history_is_read_oldest_first_flagged_and_without_its_bad_rows():
    parsed = Bench().parser.history(history({"t": 3}, {"t": 1}, {"t": 2, "p": 0}), "BTCUSDT", read)
    assert parsed.batch.trade_id.tolist() == [1, 3] and (parsed.batch.flags == Flag.BACKFILLED).all()
    assert (parsed.batch.timestamp == AT_NS).all() and (parsed.batch.received_at > AT_NS - 10**18).all()


@pytest.mark.parametrize("row", [{"s": "ETHUSDT"}, {"at": AT_NS // 10**9}, {"at": AT_NS}], ids=["symbol", "seconds", "ns"])
def test_a_history_of_another_symbol_or_unit_is_rejected_as_a_whole(row):
    with pytest.raises(BadFrame):
        Bench().parser.history(history({}, row), "BTCUSDT", read)
