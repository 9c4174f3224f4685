"""Trades: one line each, with plain numbers, and no price that misleads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.commands.table import text_width
from pumpwatch.commands.trade_table import TradeLines, per_remark, trade_lines, trades_title
from pumpwatch.model import FUTURES, NO_SEQUENCE, SPOT, Instrument, TradeBatch
from tests.commands.rendered import check_lines

START = 1_764_252_202_123_456_789  # 2025-11-27T14:03:22Z
DAY = 86_400 * 10**9
CATALOGUE = Catalogue()
for venue, symbol, multiplier in ((("binance", SPOT), "PEPEUSDT", 1), (("phemex", FUTURES), "u1000PEPEUSDT", 1000),
                                  (("okx", FUTURES), "PEPE-USDT-SWAP", 1),
                                  (("kucoin", FUTURES), "10000000AIDOGEUSDTM", 10_000_000)):
    CATALOGUE.add(venue, Instrument(symbol=symbol, base="PEPE" if multiplier == 1 else f"{multiplier}PEPE", quote="USDT",
                                    multiplier=multiplier))


def trades(*rows: tuple[int, float, float], step_ns: int = 1_000_000) -> TradeBatch:
    """Return trades of (instrument, price, quantity)."""
    number = len(rows)
    timestamp = START + np.arange(number, dtype=np.int64) * step_ns
    return TradeBatch(
        timestamp=timestamp, instrument=np.array([row[0] for row in rows], np.int32),
        price=np.array([row[1] for row in rows]), quantity=np.array([row[2] for row in rows]),
        side=np.arange(number).astype(np.uint8) % 2, trade_id=np.arange(number, dtype=np.int64) + 2_290_000_000_050_703_815,
        sequence_number=np.full(number, NO_SEQUENCE, np.int64), received_at=timestamp, flags=np.zeros(number, np.uint8))


MIXED = trades((0, 8.1e-06, 38720786.1407), (1, 0.0080994, 30700), (2, 8.0998e-06, 13613600))


def test_at_80_columns_a_trade_is_one_line_without_its_id() -> None:
    assert trade_lines(MIXED, CATALOGUE, 80) == [
        "time          venue      symbol          side         price       quantity   per",
        "14:03:22.123  binance.s  PEPEUSDT        buy   0.0000081     38720786.1407",
        "14:03:22.124  phemex.f   u1000PEPEUSDT   sell  0.0080994        30700       1000",
        "14:03:22.125  okx.f      PEPE-USDT-SWAP  buy   0.0000080998  13613600"]


def test_at_120_columns_the_id_is_there_and_alone_it_has_its_whole_time_too() -> None:
    text = check_lines(trade_lines(MIXED, CATALOGUE, 120), 120)
    assert "2290000000050703815" in text
    assert "2025-11-27 14:03:22.123456  binance.spot" in trade_lines(MIXED.take(slice(0, 1)), CATALOGUE, 120)[1]


def test_a_price_of_a_thousand_coins_says_so() -> None:
    assert per_remark(MIXED, CATALOGUE) == "per 1000: one unit of u1000PEPEUSDT is 1,000 coins, in price and quantity"
    alone = MIXED.take(slice(0, 1))
    assert per_remark(alone, CATALOGUE) == "" and "per" not in trade_lines(alone, CATALOGUE, 80)[0]


@pytest.mark.parametrize("width", [80, 120])
def test_the_longest_symbols_and_numbers_still_are_a_line_each(width: int) -> None:
    hard = trades((3, 0.000123456789, 123456789.12345), (3, 1.5e-07, 0.000012345678), (0, 61800.51, 1e-08), step_ns=DAY)
    lines = trade_lines(hard.take(slice(0, 2)), CATALOGUE, width)
    assert len(lines) == 3 or width == 80
    check_lines(trade_lines(hard, CATALOGUE, width), width)
    assert not any("e-" in line for line in lines)


def test_the_title_names_the_day_or_that_there_are_several() -> None:
    assert trades_title(MIXED, "pepe", 3) == "PEPE: 3 trades, 2025-11-27 UTC"
    assert trades_title(MIXED, "pepe", 1234) == "PEPE: the last 3 of 1,234 trades, 2025-11-27 UTC"
    days = trades((0, 1.0, 1.0), (0, 1.0, 1.0), step_ns=DAY)
    assert trades_title(days, "pepe", 2) == "PEPE: 2 trades, times in UTC"
    assert trade_lines(replace(days, price=days.price * 1e-7), CATALOGUE, 78)[1].startswith("11-27 14:03:22.123  binance.s")


def test_lines_that_come_bit_by_bit_keep_their_columns_as_long_as_they_fit() -> None:
    lines = TradeLines(CATALOGUE, 80)
    first = lines.add(MIXED)
    assert first[0].startswith("time") and len(first) == 4
    more = lines.add(trades((2, 7e-06, 12.5)))
    assert more == ["14:03:22.123  okx.f      PEPE-USDT-SWAP  buy   0.000007            12.5"]
    wider = lines.add(trades((3, 1e-07, 1.0)))
    assert wider[0].startswith("time") and len(wider) == 2
    assert all(text_width(line) <= 80 for line in (*first, *more, *wider))
