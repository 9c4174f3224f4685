"""Questions about coins are answered from the nearest place, and wrong ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import UsageError
from pumpwatch.market.answers import Found
from pumpwatch.market.disk_cache import BOOK_S, TICKER_S
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.minute_verdicts import MinuteEvidence
from pumpwatch.market.pull_through import REFUSED_S
from pumpwatch.market.service import MarketService
from pumpwatch.market.statistics import DAY_NS
from pumpwatch.model import Gap
from pumpwatch.store.coverage import Watched
from pumpwatch.ticker import Ticker
from pumpwatch.venue import HttpRequest
from tests.market.market_parts import KeptTrades, asker, refused, trades_at
from tests.trades import VENUES


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
    assert [one.problem for one in found] == ["not cached, and venues are not asked"] * 2 and len(market.asked) == 3


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


def test_trades_of_which_some_could_not_be_read_are_not_kept() -> None:
    trades = KeptTrades(trades_at((FakeClock().now_ns(), 1.0, 1.0)))
    market = Market(trades)
    trades.unreadable = ["segment 3: locked"]
    found = [market.service.get_trades("C0", market="spot")[0] for _ in range(3)]
    assert [(one.source, one.problem) for one in found] == [("store", "segment 3: locked"), ("store", ""), ("cache", "")]


def told(market: Market, **named: Any) -> list[tuple[Any, ...]]:
    return [(one.source, one.age_s, one.day_source, one.day_age_s, one.value and one.value.price)
            for one in market.service.get_ticker("C0", **named)]


def test_newer_trades_give_the_price_of_their_instrument_alone() -> None:
    market = Market()
    assert told(market) == [("venue", 0.0, "venue", 0.0, 2.0)] * 2
    market.clock.advance(10)
    now_ns = market.clock.now_ns()
    market.service.note_trades(trades_at((now_ns - 20 * 10**9, 7.0, 1.0)))
    assert told(market) == [("cache", 10.0, "venue", 10.0, 2.0)] * 2, "an older trade changes nothing"
    market.service.note_trades(trades_at((now_ns - 10**9, 9.0, 1.0), (now_ns - 2 * 10**9, 8.0, 1.0)))
    assert told(market) == [("memory", 1.0, "venue", 10.0, 9.0), ("cache", 10.0, "venue", 10.0, 2.0)] and len(market.asked) == 2
    value = market.service.get_ticker("C0", market="spot")[0].value
    assert value is not None and (value.open_24h, value.change) == (1.0, 8.0)
    market.clock.advance(300)
    assert [row[0] for row in told(market)] == ["venue", "venue"], "the trade is too old"


def test_trades_of_the_journal_give_the_price_where_no_collector_notes_them() -> None:
    now_ns = FakeClock().now_ns()
    market = Market(KeptTrades(trades_at((now_ns - 3 * 10**9, 5.0, 1.0))), refused)
    spot, = market.service.get_ticker("C0", market="spot")
    assert (spot.source, spot.age_s, spot.day_source, spot.value and spot.value.price) == ("journal", 3.0, "", 5.0)
    assert spot.problem.startswith("the last 24 hours: binance.spot: ") or "HTTP 503" in spot.problem


def test_the_24_hours_come_from_candles_where_these_are_complete() -> None:
    clock = FakeClock()
    now_ns = clock.now_ns()
    kept = KeptTrades(trades_at((now_ns - DAY_NS - 10**11, 1.0, 1.0), (now_ns - DAY_NS, 4.0, 2.0), (now_ns - 10**9, 5.0, 1.0)))
    watched = {VENUES[0]: [Watched(*VENUES[0], 0, frozenset({"C0USDT"}))]}
    records = MinuteEvidence({}, {}, watched)
    gap = Gap(exchange="binance", market_type="spot", symbol="C0USDT", from_ns=now_ns - 600 * 10**9, to_ns=now_ns - 500 * 10**9,
              reason="cut")

    def ticker() -> Found[Ticker]:
        service = MarketService(kept, None, asker(refused, clock), clock, records=lambda start_ns, end_ns: records)
        return service.get_ticker("C0", market="spot")[0]

    found = ticker()
    assert (found.source, found.day_source, found.day_age_s, found.problem) == ("journal", "candles", 0.0, "")
    assert found.value is not None and found.value.trades == 2
    assert (found.value.price, found.value.open_24h, found.value.volume) == (5.0, 4.0, 3.0)
    records.gaps[VENUES[0]] = [gap]
    assert ticker().day_source == "" and "HTTP 503" in ticker().problem


def test_kept_trades_are_read_again_once_newer_ones_are_noted() -> None:
    now_ns = FakeClock().now_ns()
    market = Market(KeptTrades(trades_at((now_ns - 5, 1.0, 1.0))))
    market.service.get_trades("C0", 1, market="spot")
    assert market.service.get_trades("C0", 1, market="spot")[0].source == "cache"
    market.service.note_trades(trades_at((now_ns - 4, 2.0, 1.0)))
    assert market.service.get_trades("C0", 1, market="spot")[0].source == "store"


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
