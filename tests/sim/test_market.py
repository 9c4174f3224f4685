"""Generated markets."""

from __future__ import annotations

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.sim.market import SimulatedMarket, coins, spread
from pumpwatch.sim.rows import VOID, Rows, SymbolSpec, SymbolTable

NOW = 1_700_000_000 * NS_PER_S


def table_of(count: int) -> SymbolTable:
    return SymbolTable([SymbolSpec(symbol=f"{coin.name}USDT", coin=coin.name, base=coin.name, quote="USDT",
                                   price=coin.price, price_decimals=8, quantity_decimals=index % 4)
                        for index, coin in enumerate(coins(count))])


def market_of(seed: int = 1, count: int = 10) -> SimulatedMarket:
    return SimulatedMarket(table_of(count), [seed], first_id=1000, unit_ns=NS_PER_MS, flag_shares={VOID: 0.02, 4: 0.01})


def content(rows: Rows) -> list[tuple[object, ...]]:
    return list(zip(rows.symbols(), rows.trade_id.tolist(), rows.price_texts(), rows.quantity_texts(),
                    rows.sell.tolist(), rows.flags.tolist(), strict=True))


def test_the_same_seed_gives_the_same_trades_however_they_are_taken() -> None:
    one, other = market_of(), market_of()
    whole = one.next_trades(20_000, NOW, NOW + NS_PER_S)
    parts = [other.next_trades(count, NOW, NOW + NS_PER_S) for count in (1, 7, 8191, 8192, 3609)]
    assert content(whole) == content(Rows.concat(parts))
    assert content(whole) != content(market_of(2).next_trades(20_000, NOW, NOW + NS_PER_S))


def test_ids_go_up_by_one_for_each_symbol() -> None:
    market = market_of()
    rows = Rows.concat([market.next_trades(count, NOW, NOW + 1) for count in (5, 300, 9000)])
    for symbol in range(len(market.table)):
        ids = rows.trade_id[rows.symbol == symbol]
        assert ids.tolist() == list(range(1000, 1000 + len(ids)))


def test_texts_are_exactly_the_numbers() -> None:
    rows = market_of().next_trades(5000, NOW, NOW + NS_PER_S)
    assert [float(text) for text in rows.price_texts()] == rows.prices().tolist()
    assert [float(text) for text in rows.quantity_texts()] == rows.quantities().tolist()


def test_void_rows_have_no_price_and_others_have_one() -> None:
    rows = market_of().next_trades(20_000, NOW, NOW + NS_PER_S)
    void = rows.flags == VOID
    assert 200 < void.sum() < 800
    assert not rows.price[void].any()
    assert not rows.quantity[void].any()
    assert (rows.price[~void] > 0).all()
    assert (rows.quantity[~void] > 0).all()


def test_times_are_spread_ascend_and_are_whole_milliseconds() -> None:
    rows = market_of().next_trades(1000, NOW, NOW + NS_PER_S)
    assert (np.diff(rows.timestamp) >= 0).all()
    assert not (rows.timestamp % NS_PER_MS).any()
    assert rows.timestamp[0] >= NOW
    assert rows.timestamp[-1] < NOW + NS_PER_S


def test_a_listed_coin_jumps_and_trades_more_than_before() -> None:
    market = market_of()
    before = market.next_trades(3000, NOW, NOW + NS_PER_S, 1.0, 3000)
    assert market.pump("SOMI", NOW + NS_PER_S, 0.25, 40.0) == ["SOMIUSDT"]
    after = market.next_trades(3000, NOW + NS_PER_S, NOW + 2 * NS_PER_S, 1.0, 3000)
    coin = market.table.index["SOMIUSDT"]
    usual, pumped = before.take(before.symbol == coin), after.take(after.symbol == coin)
    assert len(pumped) > 10 * len(usual)
    plain = usual.prices()[usual.flags != VOID]
    jumped = pumped.prices()[pumped.flags != VOID]
    assert jumped.min() > plain.max() * 1.08
    assert pumped.trade_id.tolist() == list(range(usual.trade_id[-1] + 1, usual.trade_id[-1] + 1 + len(pumped)))
    later = market.next_trades(3000, NOW + 600 * NS_PER_S, NOW + 601 * NS_PER_S, 1.0, 3000)
    assert (later.symbol == coin).sum() < 3 * len(usual)


def test_a_full_roster_is_spread_to_the_last_symbol() -> None:
    assert spread(5712, [448, 540, 1001, 116]) == [1216, 1465, 2716, 315]
    assert sum(spread(5712, [1.0] * 12)) == 5712 and spread(3, [1000, 1, 1]) == [3, 1, 1]  # no market is empty
