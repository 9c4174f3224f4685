"""Lists of boards: a broken row among good ones, lists of markets, and times."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.errors import BadFrame
from pumpwatch.hookspecs import Market
from pumpwatch.listing.board_lists import bare_list, pair_markets, rows_of, time_ns


def raws(*rows: bytes) -> list[msgspec.Raw]:
    return [msgspec.Raw(row) for row in rows]


def number(raw: bytes) -> int | None:
    found: int = msgspec.json.decode(raw, type=int)
    return found or None


def test_a_row_that_cannot_be_read_costs_no_other_and_one_may_be_left_out() -> None:
    rows = rows_of(raws(b"1", b'"x"', b"0", b"2"), number, "the numbers")
    assert [row for row in rows if not isinstance(row, BadFrame)] == [1, 2]
    assert [str(row) for row in rows if isinstance(row, BadFrame)] == [
        'a row of the numbers cannot be read: Expected `int`, got `str`: "x"']


def test_a_list_without_a_readable_row_is_refused_and_one_without_a_row_is_empty() -> None:
    with pytest.raises(BadFrame, match="the numbers: every row is unreadable"):
        rows_of(raws(b"[]", b"{}"), number, "the numbers")
    assert rows_of([], number, "the numbers") == rows_of(raws(b"0"), number, "the numbers") == []


def test_markets_are_pairs_of_quote_and_coin() -> None:
    body = b'[{"market":"KRW-0G","korean_name":"x"},{"market":7},{"market":"BTC-A-B"},{"market":"odd"}]'
    first, broken, *others = pair_markets(body, "the markets")
    assert first == Market(symbol="KRW-0G", coin="0G", quote="KRW") and isinstance(broken, BadFrame)
    assert others == [Market(symbol="BTC-A-B", coin="A-B", quote="BTC"), Market(symbol="odd", coin="", quote="odd")]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b"[1]", b'[{"market":"KRW-BTC"},{"mar', b"[" * 100_000, b"null"])
def test_anything_but_a_list_of_markets_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        pair_markets(body, "the markets")


def test_a_bare_list_has_a_row() -> None:
    assert bare_list(b"[1, {}]", "it") == raws(b"1", b"{}")
    with pytest.raises(BadFrame, match="it came without a row"):
        bare_list(b"[]", "it")


def test_a_time_has_an_offset_or_is_given_one() -> None:
    eight_ns = 1_787_299_200 * 10**9
    assert time_ns("2026-08-21T17:00:00+09:00") == time_ns("2026-08-21 17:00:00", 9 * 60) == eight_ns
    assert time_ns("2026-08-21T08:00:00.1234Z") == eight_ns + 123_000_000
    for text in ("2026-08-21 17:00:00", "yesterday", ""):
        with pytest.raises(ValueError, match=r"offset|isoformat"):
            time_ns(text)
