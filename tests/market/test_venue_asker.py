"""A venue's answer is what was asked for, or one clear reason why it is not used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.market.candle_columns import CandleOrigin
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.model import Instrument
from pumpwatch.venue import HttpRequest
from tests.market.market_parts import asker, refused

COIN = Instrument(symbol="C0USDT", base="C0", quote="USDT")
CLOCK = FakeClock()
NOW_MS = CLOCK.now_ns() // 10**6
TICKER = {"symbol": "C0USDT", "lastPrice": "2", "openPrice": "1", "closeTime": NOW_MS}
BOOK = {"lastUpdateId": 1, "T": NOW_MS, "bids": [["1", "2"]], "asks": [["1.5", "2"]]}


def answering(body: Any) -> Any:
    return lambda request: body if isinstance(body, bytes) else json.dumps(body).encode()


def test_a_ticker_and_a_book_are_read() -> None:
    assert asker(answering(TICKER), CLOCK).ticker("binance.spot", COIN).change == 1.0
    assert asker(answering(BOOK), CLOCK).book("binance.futures", COIN).bids == [(1.0, 2.0)]


@pytest.mark.parametrize(("body", "says"), [
    ({**TICKER, "closeTime": NOW_MS - 25 * 3_600_000}, "the ticker is 25 hours old"),
    ({**TICKER, "closeTime": NOW_MS + 7_200_000}, "the ticker is of the future"),
    ({**TICKER, "lastPrice": "0"}, "not a ticker"), ({"symbol": "C0USDT"}, "not a ticker"), (b"<html>", "not a ticker"),
    ({**TICKER, "symbol": "OTHER"}, "another symbol"), ([], "not a ticker"), (b"", "not a ticker")])
def test_a_ticker_that_cannot_be_right_is_refused(body: Any, says: str) -> None:
    with pytest.raises(ServiceUnavailable, match=says):
        asker(answering(body), CLOCK).ticker("binance.spot", COIN)


@pytest.mark.parametrize(("body", "says"), [
    ({**BOOK, "bids": [["2", "1"]]}, "a crossed order book: bid 2, ask 1.5"),
    ({**BOOK, "bids": [], "asks": []}, "an order book without a level"),
    ({**BOOK, "T": NOW_MS - 25 * 3_600_000}, "the order book is 25 hours old"),
    ({**BOOK, "bids": [["-1", "1"]]}, "not an order book"), (b"<html>", "not an order book")])
def test_a_book_that_cannot_be_right_is_refused(body: Any, says: str) -> None:
    with pytest.raises(ServiceUnavailable, match=says):
        asker(answering(body), CLOCK).book("binance.futures", COIN)


def test_a_venue_that_does_not_work_says_so_in_one_message() -> None:
    with pytest.raises(ServiceUnavailable, match="HTTP 503: try later"):
        asker(refused, CLOCK).ticker("binance.spot", COIN)
    with pytest.raises(ServiceUnavailable, match="not a venue of the config"):
        asker(refused, CLOCK).ticker("kraken.spot", COIN)


def test_minutes_are_those_asked_for_that_are_over() -> None:
    now_ns = CLOCK.now_ns()
    start_ns = now_ns // MINUTE_NS * MINUTE_NS - 3 * MINUTE_NS
    asked: list[HttpRequest] = []

    def klines(request: HttpRequest) -> bytes:
        asked.append(request)
        return json.dumps([[(start_ns + at * MINUTE_NS) // 10**6, "1", "2", "0.5", "1.5", "3" if at != 1 else "0", 0, "4.5", 7]
                           for at in range(4)]).encode()

    found = asker(klines, CLOCK).minutes("binance.spot", COIN, start_ns, now_ns)
    assert ((found.timestamp - start_ns) // MINUTE_NS).tolist() == [0, 2], "one had no trade, and one still runs"
    assert (found.volume[0], found.trades[0], set(found.origin.tolist())) == (3.0, 7, {int(CandleOrigin.VENUE)})
    assert asked[0].params["limit"] == 3


@pytest.mark.parametrize(("rows", "says"), [
    ([(0, "1", "2", "0", "1.5")], "contradict each other"), ([(90, "1", "2", "0.5", "1.5")], "in the future")])
def test_minutes_that_cannot_be_right_are_refused(rows: list[Any], says: str) -> None:
    start_ns = CLOCK.now_ns() // MINUTE_NS * MINUTE_NS - 3 * MINUTE_NS
    body = [[(start_ns + at * MINUTE_NS) // 10**6, *prices, "3", 0, "4.5", 7] for at, *prices in rows]
    with pytest.raises(ServiceUnavailable, match=says):
        asker(answering(body), CLOCK).minutes("binance.spot", COIN, start_ns, CLOCK.now_ns())


def test_a_symbol_is_asked_for_with_the_scale_of_the_venues_list() -> None:
    listing = {"symbols": [{"symbol": "C0USDT", "baseAsset": "C0", "quoteAsset": "USDT", "status": "TRADING"}]}
    paths: list[str] = []

    def answer(request: HttpRequest) -> bytes:
        paths.append(request.path)
        return json.dumps(listing if "exchangeInfo" in request.path else TICKER).encode()

    one = asker(answer, CLOCK, listed={"binance.spot": {}})
    assert one.ticker("binance.spot", COIN).price == 2.0 and one.ticker("binance.spot", COIN).price == 2.0
    assert [path.rpartition("/")[2] for path in paths] == ["exchangeInfo", "24hr", "24hr"]
    with pytest.raises(ServiceUnavailable, match="'NOUSDT' is not listed there"):
        one.ticker("binance.spot", Instrument(symbol="NOUSDT", base="NO", quote="USDT"))
