"""Bithumb's notices and markets: titles, ids, times in Korea without an offset, and bodies that are not lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pumpwatch_plugins.sources.bithumb import BITHUMB, BITHUMB_MARKETS, parse, verdict

from pumpwatch.errors import BadFrame
from pumpwatch.listing.market_rows import checked_markets
from pumpwatch.model import Notice
from tests.corpus import needs_corpus, rows

KRW_LISTINGS = [
    ("카이트(KITE) 원화 마켓 추가", "KITE"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가", "KITE"),
    ("[마켓추가] 카이트(KITE) 원화마켓 추가 안내", "KITE"),
    ("[마켓 추가] 가나(AAA), 다라(BBB) 원화 마켓 추가", "AAA BBB"),
    ("[마켓 추가/수수료 이벤트] 카이트(KITE) 원화 마켓 추가 (거래 수수료 무료)", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 (거래 수수료 무료) (거래 오픈 오후 5시 예정)", "KITE"),
    ("카이트(KITE) 원화 마켓 추가(심볼명 변경)", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 및 재단 에어드랍 안내", "KITE"),
    ("카이트(KITE) KRW 마켓 추가 예정", "KITE"),
    ("카이트(KITE) 원화, BTC 마켓 추가", "KITE"),
    ("제로지(0G) 원화 마켓 신규 추가", "0G"),
    ("카이트 (KITE)  원화  마켓  추가", "KITE"),
    ("KITE(카이트) 원화 마켓 추가", "KITE"),
    ("테더(USDT) 원화 마켓 추가", "USDT"),
    ("가나(A), 다라(F), 마바(1INCH) 원화 마켓 추가 (출금 지연 안내)", "A F 1INCH"),
    ("카이트（KITE） 원화 마켓 추가", "KITE"),
    # wordings that may come
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 (거래 오픈 오후 7시 예정)", "KITE"),
    ("[마켓 추가] 카이트(KITE), 모나드(MON), 앱토스(APT) 원화 마켓 추가", "KITE MON APT"),
    ("[마켓추가]카이트(KITE) 원화마켓추가", "KITE"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 신규 상장 안내", "KITE"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 거래지원 안내", "KITE"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 거래 지원 개시 안내", "KITE"),
    ("[마켓 추가] 카이트(KITE) 신규 거래지원 안내 (원화 마켓)", "KITE"),
    ("[신규 상장] 카이트(KITE) 원화 마켓 추가", "KITE"),
    ("[거래지원] 카이트(KITE) 원화 마켓 추가", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 안내 (거래 수수료 무료 이벤트)", "KITE"),
    ("[마켓 추가/에어드랍 이벤트] 카이트(KITE) 원화 마켓 추가", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 (상장 기념 에어드랍 이벤트 진행)", "KITE"),
    ("카이트(KITE) 원화 마켓 추가, 거래 수수료 무료", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 및 거래 수수료 무료 이벤트", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 - 거래 오픈 오후 5시", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 (거래 오픈 11/27 오후 5시 예정)", "KITE"),
    ("카이트(KITE)·모나드(MON) 원화 마켓 추가", "KITE MON"),
    ("카이트(KITE) 및 모나드(MON) 원화 마켓 추가", "KITE MON"),
    ("카이트(KITE)와 모나드(MON) 원화 마켓 추가", "KITE MON"),
    ("카이트(KITE) 원화마켓 오픈", "KITE"),
    ("원화 마켓 추가 : 카이트(KITE)", "KITE"),
    ("원화 마켓 추가 안내 (KITE, MON)", "KITE MON"),
    ("원화 마켓 추가 안내 카이트(KITE), 모나드(MON)", "KITE MON"),
    ("카이트（ＫＩＴＥ）\u3000원화\u3000마켓\u3000추가", "KITE"),
    ("카이트(KITE)\u200b 원화\u00a0마켓 추가", "KITE"),
    ("카이트(KITE) 원화(KRW) 마켓 추가", "KITE"),
    ("카이트(KITE) KRW, USDT 마켓 추가", "KITE"),
    ("카이트(KITE) 원화 마켓, 모나드(MON) BTC 마켓 추가", "KITE"),
    ("월드 리버티 파이낸셜 USD(USD1), 밈코어(M) 원화 마켓 추가", "USD1 M"),
    ("비트코인 솔루션(BTCS) 원화 마켓 추가", "BTCS"),
    ("카이트(KITE) 원화 마켓 추가 (이름 변경: 에어로)", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 (입금 지연 안내)", "KITE"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 완료 안내", "KITE"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 (거래 오픈 오후 5시 30분 예정)", "KITE"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 (유의사항 안내)", "KITE"),
    ("카이트(KITE) 원화 마켓 상장", "KITE"),
    ("카이트(KITE), 모나드(MON) 원화 마켓 추가 (모나드 입금 지연)", "KITE MON"),
    ("카이트(KITE)원화마켓추가(거래수수료무료)", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 & 거래 수수료 무료", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 + 에어드랍 이벤트", "KITE"),
    ("카이트(KITE) 원화 마켓 추가! 거래 수수료 무료", "KITE"),
    ("[거래지원] 카이트(KITE) 원화 마켓 신규 거래지원", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 예고", "KITE"),
    ("모나드(MON) 거래지원 종료 및 카이트(KITE) 원화 마켓 추가", "KITE"),
    ("카이트(구 에어로)(KITE) 원화 마켓 추가", "KITE"),
    ("카이트(KITE)(구 AERO) 원화 마켓 추가", "KITE"),
    ("카이트(KITE) 원화 마켓 추가 (재단 요청으로 입금 중지)", "KITE"),
]
OTHERS = [
    ("카이트(KITE) 원화 마켓 추가 (거래 오픈 시간 변경)", "other"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 (거래 오픈 오후 6시로 변경)", "other"),
    ("카이트(KITE) 원화 마켓 추가 취소 안내", "other"),
    ("카이트(KITE) 원화 마켓 재거래지원 안내", "other"),
    ("카이트(KITE) 재거래지원 및 원화 마켓 추가", "other"),
    ("카이트(KITE) BTC 마켓 추가", "non_krw_listing"),
    ("[이벤트] 카이트(KITE) 원화 마켓 추가", "event"),
    ("[이벤트] 총 3억원 상당, 카이트(KITE) 원화마켓 추가 기념 이벤트", "event"),
    ("카이트(KITE) 원화 마켓 추가 기념 에어드랍 이벤트", "event"),
    ("카이트(KITE) 거래지원 종료", "delisting"),
    ("카이트(KITE) 원화 마켓 거래지원 종료 안내", "delisting"),
    ("카이트(KITE), 가나(AAA) 거래유의종목 지정", "warning"),
    ("카이트(KITE) 입출금 일시 중지 안내 (09/21 오후 8시~)", "maintenance"),
    ("원화 입출금 점검 안내", "maintenance"),
    ("재산상 이익 제공 공시", "other"),
    ("카이트(KITE) USDT 마켓 추가", "non_krw_listing"),
    ("카이트(KITE) 비트코인 마켓 추가", "non_krw_listing"),
    ("카이트(KITE) 원화 마켓 추가 연기 안내", "other"),
    ("카이트(KITE) 원화 마켓 추가 일정 변경 안내", "other"),
    ("카이트(KITE) 원화 마켓 추가 (거래 오픈 연기)", "other"),
    ("카이트(KITE) 원화 마켓 추가 (거래 오픈 일시 변경 안내)", "other"),
    ("카이트(KITE) 원화 마켓 거래 오픈 시간 변경 안내", "other"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 (상장 취소)", "other"),
    ("카이트(KITE) 원화 마켓 재상장 안내", "other"),
    ("[이벤트] 카이트(KITE) 원화 마켓 추가! 총 1억원 에어드랍", "event"),
    ("카이트(KITE) 원화 마켓 추가 기념! 총 5억원 상당 KITE 받아가세요", "event"),
    ("[이벤트] 원화 마켓 추가 기념 카이트(KITE) 순매수 이벤트", "event"),
    ("원화 마켓 호가 단위 변경 안내", "other"),
    ("원화 마켓 자동매매 기능 추가 안내", "other"),
    ("원화 마켓 주문 유형 추가", "other"),
    ("[거래지원종료] 카이트(KITE) 거래지원 종료 안내 (원화 마켓)", "delisting"),
    ("카이트(KITE) 원화 마켓 거래지원 종료 연기 안내", "delisting"),
    ("[거래유의] 카이트(KITE) 거래유의종목 지정 연장", "warning"),
    ("카이트(KITE) 거래유의종목 지정 해제", "warning"),
    ("[입출금] 카이트(KITE) 입금 네트워크 추가", "other"),
    ("카이트(KITE) 하드포크에 따른 입출금 일시 중지 안내", "maintenance"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 (거래 오픈 시간 변경 : 오후 6시)", "other"),
    ("[마켓 추가] 카이트(KITE) 원화 마켓 추가 (입금 오픈 시간 변경)", "other"),
    ("카이트(KITE) 원화 마켓 거래지원 재개 안내", "maintenance"),
    ("카이트(KITE) 원화 마켓 추가 투표 이벤트", "event"),
    ("카이트(KITE) 에어드랍 안내", "event"),
    ("[에어드랍] 카이트(KITE) 에어드랍 지급 완료 안내", "event"),
    ("원화 마켓 수수료 변경 안내", "other"),
    ("카이트(KITE) BTC 마켓 추가 (원화 마켓 추가 예정)", "non_krw_listing"),
    ("", "other"),
]


@pytest.mark.parametrize(("title", "coins"), KRW_LISTINGS)
def test_a_krw_listing_is_seen_with_its_coins(title: str, coins: str) -> None:
    found = verdict(title)
    assert (found.kind, set(found.symbols)) == ("krw_listing", set(coins.split()))


@pytest.mark.parametrize(("title", "kind"), OTHERS)
def test_other_notices_open_no_krw_market(title: str, kind: str) -> None:
    found = verdict(title)
    assert (found.kind, found.symbols) == (kind, ())


@needs_corpus
def test_every_recorded_title_is_judged_as_a_person_did() -> None:
    titles = list(rows("bithumb_titles.jsonl"))
    wrong = [(one["title"], verdict(one["title"]).kind) for one in titles
             if verdict(one["title"]).kind != one["label"].replace("update", "other")]
    assert titles and wrong == []
    assert [one["title"] for one in titles if one["label"] == "krw_listing"
            and set(verdict(one["title"]).symbols) != set(one["symbols"])] == []


def row(**changes: Any) -> dict[str, Any]:
    return {"categories": ["마켓 추가"], "title": "카이트(KITE) 원화 마켓 추가", "pc_url": "https://feed.bithumb.com/notice/1654570",
            "published_at": "2026-08-21 17:00:00", "modified_at": "2026-08-21 16:27:21", **changes}


def body(*given: Any) -> bytes:
    return json.dumps(given, ensure_ascii=False).encode()


def test_the_id_is_in_the_address_and_the_times_are_those_of_korea() -> None:
    (notice,) = parse(body(row()))
    assert isinstance(notice, Notice)
    assert (notice.source, notice.notice_id, notice.category) == ("bithumb", "1654570", "마켓 추가")
    assert notice.published_at_ns == 1_787_299_200 * 10**9  # 08:00 UTC
    assert notice.updated_at_ns == notice.published_at_ns - (32 * 60 + 39) * 10**9
    assert notice.url.endswith("/1654570")


def test_an_event_is_left_out_unless_it_is_a_listing_too() -> None:
    categories = [["이벤트"], ["이벤트", "마켓 추가"], ["마켓 추가/수수료 이벤트"]]
    assert len(parse(body(*(row(categories=names) for names in categories)))) == 2


@pytest.mark.parametrize("given", [
    b"", b"[]", b"{}", b"null", b"<html>Just a moment...</html>", b"[1,2,3]", body(row())[:40], b"[" * 100_000,
    body(row(pc_url="https://feed.bithumb.com/notice/")), body(row(published_at="yesterday")), body(row(title=None))])
def test_anything_but_the_notices_is_refused_and_never_an_empty_list(given: bytes) -> None:
    with pytest.raises(BadFrame):
        parse(given)


def test_a_row_that_cannot_be_read_costs_no_other() -> None:
    found = parse(body(7, row(pc_url="x"), row(published_at="2026-13-01 00:00:00"), row()))
    assert [type(one) for one in found] == [BadFrame, BadFrame, BadFrame, Notice]


def test_the_markets_in_won_are_those_that_count() -> None:
    listed = body({"market": "KRW-BTC"}, {"market": "BTC-ETH", "korean_name": "x"}, {"no": 1}, {"market": "KRW-KITE"})
    found = checked_markets(BITHUMB_MARKETS, listed, 0)
    assert (found.coins, len(found.rejected)) == ({"KRW-BTC": "BTC", "KRW-KITE": "KITE"}, 1)


def test_it_is_asked_within_its_limit_of_a_request_a_second() -> None:
    for source in (BITHUMB, BITHUMB_MARKETS):
        assert source.pace is not None and min(source.interval_s, source.pace.quick_s, source.pace.night_s) >= 2
        assert source.exchange == "bithumb" and "Origin" not in source.headers
