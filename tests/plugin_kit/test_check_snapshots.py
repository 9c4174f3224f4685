"""Requests that depend on the symbol alone pass, and answers that are no answers are rejected."""

from __future__ import annotations

import msgspec
import pytest
from pumpwatch_plugins.exchanges.okx import VENUES

from pumpwatch.errors import BadFrame
from pumpwatch.model import Instrument
from pumpwatch.plugin_kit.check_snapshots import ODD_SYMBOLS, check_symbol_requests, require_rejections
from pumpwatch.plugin_kit.results import Problems
from pumpwatch.venue import HttpRequest

SWAPS = VENUES[1]
COIN = Instrument(symbol="A-USDT", base="A", quote="USDT")


def test_each_odd_symbol_is_asked_for_twice() -> None:
    asked: list[str] = []

    def request(symbol: str) -> HttpRequest:
        asked.append(symbol)
        return HttpRequest("/books", {"symbol": symbol}, weight=2)

    row = check_symbol_requests(SWAPS, "books", request)
    assert (row.check, row.state) == ("books: requests", "ok") and row.detail.startswith("each has the weight 2, ")
    assert asked == [symbol for symbol in ODD_SYMBOLS for _ in range(2)]


def test_a_request_that_changes_or_cannot_be_made_is_named() -> None:
    numbers = iter(range(100))
    row = check_symbol_requests(SWAPS, "books", lambda symbol: HttpRequest("/books", {"nonce": next(numbers)}))
    assert row.state == "fail" and "a different request the second time" in row.detail
    row = check_symbol_requests(SWAPS, "books", lambda symbol: HttpRequest("/books", {"symbol": symbol.encode("ascii").decode()}))
    assert row.state == "fail" and "it raises UnicodeEncodeError" in row.detail


def parse(body: bytes, instrument: Instrument) -> int:
    found = msgspec.json.decode(body)
    if not isinstance(found, dict):
        raise BadFrame("not an object")
    return len(found)


def broken(body: bytes, instrument: Instrument) -> int:
    raise SystemError


@pytest.mark.parametrize(("read", "says"), [
    (parse, ""), (lambda body, instrument: 1, "half a body is accepted"),
    (broken, "it raises SystemError")])
def test_half_an_answer_must_be_rejected_by_an_error_that_parsers_may_raise(read, says: str) -> None:
    problems = Problems("a.spot", "books: levels")
    require_rejections(problems, read, b'{"bids": [["1.5", "2"]], "asks": []}', COIN)
    found = "; ".join(problems.failures)
    assert says in found and bool(found) == bool(says)
