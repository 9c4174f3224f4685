"""Parsing titles: which coins, which markets, and which of them belong together."""

from __future__ import annotations

import pytest
from pumpwatch_plugins.sources.upbit import WORDING

from pumpwatch.listing.title_parser import read_title


@pytest.mark.parametrize(("title", "coins"), [
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC 마켓)", {"KITE": ("KRW", "BTC")}),
    ("KITE(카이트) KRW 마켓 디지털 자산 추가", {"KITE": ("KRW",)}),
    ("KRW 마켓 디지털 자산 추가 (KITE, ORDER)", {"KITE": ("KRW",), "ORDER": ("KRW",)}),
    ("가(AAA)(KRW 마켓), 나(BBB)(BTC 마켓) 신규 거래지원 안내", {"AAA": ("KRW",), "BBB": ("BTC",)}),
    ("테더달러(USDe) 신규 거래지원 안내 (원화(KRW) 마켓)", {"USDE": ("KRW",)}),
    ("카이트(KITE)(구 AERO) 신규 거래지원 안내 (KRW 마켓)", {"KITE": ("KRW",)}),
    ("카이트($KITE) 신규 거래지원 안내 (KRW 마켓)", {"KITE": ("KRW",)}),
    ("카이트(KITE) 신규 거래지원 안내 (KRW, EURC 마켓)", {"KITE": ("KRW", "EURC")}),
    ("카이트(KITE) 신규 거래지원 안내 (거래 마켓 : KRW, BTC)", {"KITE": ("KRW", "BTC")}),
    ("KRW 마켓 디지털 자산 추가 (KITE), USDT 마켓 디지털 자산 추가 (MON)", {"KITE": ("KRW",)})])
def test_each_coin_has_the_market_list_that_belongs_to_it(title: str, coins: dict[str, tuple[str, ...]]) -> None:
    reading = read_title(title, WORDING)
    assert reading.opens
    assert dict(reading.coins) == coins


@pytest.mark.parametrize("title", [
    "", "카이트(KITE) 거래지원 종료 안내 (KRW 마켓)", "카이트(KITE) 입출금 일시 중단 안내", "(((", "[]"])
def test_a_title_that_states_no_new_market_opens_none(title: str) -> None:
    reading = read_title(title, WORDING)
    assert (reading.opens, reading.markets, dict(reading.coins)) == (False, (), {})


def test_coins_that_share_a_list_of_several_markets_are_named() -> None:
    reading = read_title("헤미(HEMI), 유즈리스(USELESS) 신규 거래지원 안내 (KRW, BTC 마켓)", WORDING)
    assert reading.shared == {"HEMI", "USELESS"}
    assert read_title("헤미(HEMI) 신규 거래지원 안내 (KRW, BTC 마켓)", WORDING).shared == frozenset()


def test_a_coin_that_cannot_be_read_makes_the_reading_unsure() -> None:
    assert read_title("KRW 마켓 디지털 자산 추가 (KITE, 카이트)", WORDING).unsure
    assert read_title("KRW 마켓 디지털 자산 추가 (KITE, 구 AERO)", WORDING).unsure
    assert not read_title("KRW 마켓 디지털 자산 추가 (KITE)", WORDING).unsure


def test_remarks_after_the_statement_are_classified_with_the_coins_they_name() -> None:
    reading = read_title("가(AAA), 나(BBB) 신규 거래지원 안내 (KRW 마켓) (AAA 거래지원 개시 시점 안내)", WORDING)
    assert reading.remarks == ("start_time:AAA",)
    assert reading.prefixes == ()
