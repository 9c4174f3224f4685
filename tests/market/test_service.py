"""Questions about coins are answered from the nearest place, and wrong ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import UsageError
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.pull_through import REFUSED_S
from pumpwatch.market.service import BOOK_S, TICKER_S, MarketService
from pumpwatch.venue import HttpRequest
from tests.market.market_parts import KeptTrades, asker, refused, trades_at


class Market:
    """A service whose venue has a ticker and a book of every symbol."""

    def __init__(self, trades: KeptTrades | None = None, answer: Callable[[HttpRequest], Any] | None = None) -> None:
        self.clock, self.asked = FakeClock(), list[str]()
        self.trades = trades or KeptTrades()
        self.service = MarketService(self.trades, None, asker(answer or self._answer, self.clock), self.clock)

    def _answer(self, request: HttpRequest) -> bytes:
        self.asked.append(f"{request.path} {request.params['symbol']}")
        now_ms = self.clock.now_ns() // 10**6
        if "depth" in request.path:
            levels = [[str(100 - at), "1"] for at in range(30)]
            return json.dumps({"lastUpdateId": 1, "T": now_ms, "bids": levels, "asks": [["101", "1"]]}).encode()
        return json.dumps({"symbol": request.params["symbol"], "lastPrice": "2", "openPrice": "1", "closeTime": now_ms}).encode()


def test_a_ticker_is_asked_for_once_and_kept_for_five_minutes() -> None:
    market = Market()
    found = market.service.get_ticker("C0")
    assert [(one.market_type, one.source, one.value and one.value.price) for one in found] == [
        ("spot", "venue", 2.0), ("futures", "venue", 2.0)]
    market.clock.advance(TICKER_S - 1)
    again = market.service.get_ticker(["C0"])
    assert {(one.source, one.age_s) for one in again} == {("cache", TICKER_S - 1)} and len(market.asked) == 2
    market.clock.advance(1)
    assert market.service.get_ticker("C0", market="spot")[0].source == "venue" and len(market.asked) == 3


def test_many_coins_are_one_call_and_no_venue_is_asked_where_that_is_not_wanted() -> None:
    market = Market()
    assert len(market.service.get_ticker(["C0", "C1", "C2"], market="spot")) == 3 == len(market.asked)
    found = market.service.get_ticker("C3", ask=False)
    assert [one.problem for one in found] == ["not kept, and venues are not asked"] * 2 and len(market.asked) == 3


def test_a_book_has_so_many_levels_and_is_kept_for_half_a_minute() -> None:
    market = Market()
    book, = market.service.get_orderbook("C0", 5, market="futures")
    assert book.value is not None and (len(book.value.bids), len(book.value.asks)) == (5, 1)
    deeper, = market.service.get_orderbook("C0", 20, market="futures")
    assert deeper.value is not None and len(deeper.value.bids) == 20 and len(market.asked) == 1
    market.clock.advance(BOOK_S)
    market.service.get_orderbook("C0", market="futures")
    assert len(market.asked) == 2


def test_a_venue_that_refuses_is_named_and_left_alone_for_a_while() -> None:
    market = Market(answer=refused)
    first, = market.service.get_ticker("C0", market="spot")
    assert first.value is None and "HTTP 503: try later" in first.problem
    market.clock.advance(REFUSED_S)
    assert market.service.get_ticker("C0", market="spot")[0].problem == first.problem


def test_the_last_trades_are_kept_until_newer_ones_come() -> None:
    clock = FakeClock()
    now_ns = clock.now_ns()
    trades = KeptTrades(trades_at(*((now_ns - (9 - at) * MINUTE_NS, float(at), 1.0) for at in range(10))))
    market = Market(trades)
    found, = market.service.get_trades("C0", 4, market="spot")
    assert found.value is not None and found.value.price.tolist() == [6.0, 7.0, 8.0, 9.0] and found.source == "store"
    assert found.value.buy.all() and len(found.value.trade_id) == 4
    questions = len(trades.asked)
    kept, = market.service.get_trades("C0", 2, market="spot")
    assert kept.source == "cache" and kept.value is not None and kept.value.price.tolist() == [8.0, 9.0]
    assert len(trades.asked) == questions
    trades.changes += 1
    assert market.service.get_trades("C0", 2, market="spot")[0].source == "store"


def test_newer_trades_drop_what_is_kept_of_their_instrument_alone() -> None:
    market = Market()
    market.service.get_ticker("C0")
    market.service.note_trades(trades_at((1, 1.0, 1.0)))
    assert [one.source for one in market.service.get_ticker("C0")] == ["venue", "cache"]


def test_statistics_without_a_trade_say_so() -> None:
    found = Market().service.get_stats("C0", market="spot")
    assert (found[0].value, found[0].problem) == (None, "not a trade of the last 24 hours is stored")
    clock = FakeClock()
    market = Market(KeptTrades(trades_at((clock.now_ns() - 5, 3.0, 1.0))))
    value = market.service.get_stats("C0", market="spot")[0].value
    assert value is not None and value.close == 3.0


@pytest.mark.parametrize("wrong", [
    lambda service: service.get_orderbook("C0", 10**9), lambda service: service.get_orderbook("C0", 0),
    lambda service: service.get_ticker("NOPE"), lambda service: service.get_ticker("C0", exchange="kraken"),
    lambda service: service.get_candles("C0", "7m"), lambda service: service.get_candles("C0", from_ns=2, to_ns=1),
    lambda service: service.get_candles("C0", limit=0), lambda service: service.get_trades("C0", 10**9)])
def test_wrong_questions_are_refused_without_asking(wrong: Callable[[MarketService], Any]) -> None:
    market = Market()
    with pytest.raises(UsageError):
        wrong(market.service)
    assert market.asked == []


def test_figures_count_hits_and_bytes_of_each_cache() -> None:
    market = Market()
    market.service.get_ticker("C0")
    market.clock.advance(3)
    market.service.get_ticker("C0")
    figures = market.service.figures()["tickers memory"]
    assert (figures["hits"], figures["entries"], figures["hit_age_s"]) == (2, 2, 6.0) and figures["bytes"] > 0
