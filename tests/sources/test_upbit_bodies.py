"""The bodies of Upbit's notices: which coin gets which market, and when its trading starts, in Korean time."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from pumpwatch_plugins.sources.upbit import UPBIT, body_text, body_url, read_body

from pumpwatch.errors import BadFrame
from pumpwatch.model import Notice


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 10**9


PUBLISHED_NS = ns("2026-10-06T20:31:24+09:00")
HEADS = ("디지털 자산", "마켓", "네트워크", "거래지원 개시 시점")


def table(*rows: str, heads: tuple[str, ...] = HEADS) -> str:
    return f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


NMR = row("뉴메레르(NMR)", "KRW, USDT", "Ethereum", "10월 6일 20시 45분 예정")


def test_the_table_binds_each_coin_to_its_own_markets_and_start() -> None:
    body = table(row("빅타임(BIGTIME)", "BTC, USDT", "Ethereum", "4월 18일 19시 예정"),
                 row("<b>아카시네트워크</b> (AKT)", "<p>KRW, BTC,<br>USDT</p>", "Akash", "4월 18일 오후 7시 30분 예정"))
    read = read_body(f"<p>안내드립니다.</p>{body}<p>감사합니다.</p>", ns("2024-04-18T17:00:00+09:00"))
    assert read.markets == {"BIGTIME": ("BTC", "USDT"), "AKT": ("KRW", "BTC", "USDT")}
    assert read.starts_ns == {"BIGTIME": ns("2024-04-18T10:00:00+00:00"), "AKT": ns("2024-04-18T10:30:00+00:00")}


def test_a_cell_that_spans_rows_counts_for_each_of_them_and_rows_of_one_coin_are_joined() -> None:
    body = table('<tr><td>에이(AAA)</td><td>KRW</td><td>x</td><td rowspan="3">10월 7일 15시</td></tr>',
                 '<tr><td rowspan="2">비(BBB)</td><td>원화</td><td>x</td></tr>', "<tr><td>USDT</td><td>x</td></tr>")
    read = read_body(body, PUBLISHED_NS)
    assert read.markets == {"AAA": ("KRW",), "BBB": ("KRW", "USDT")}
    assert set(read.starts_ns.values()) == {ns("2026-10-07T15:00:00+09:00")}


@pytest.mark.parametrize(("cell", "coin"), [
    ("PUFFER(퍼퍼)", "PUFFER"), ("엑스알피(리플)(XRP)", "XRP"), ("제로지 (0G)", "0G"),
    ("1INCH", "1INCH"), ("소닉SVM(SONIC)", "SONIC"),
    ("에테나유에스디(USDe)", "USDe")])
def test_a_coin_is_found_in_whichever_order_it_is_named(cell: str, coin: str) -> None:
    assert list(read_body(table(row(cell, "KRW", "x", "-")), PUBLISHED_NS).markets) == [coin]


@pytest.mark.parametrize(("published", "said", "start"), [
    ("2026-12-31T20:00:00+09:00", "1월 2일 15시 예정", "2027-01-02T15:00:00+09:00"),
    ("2026-01-02T09:00:00+09:00", "12월 31일 23시 30분", "2025-12-31T23:30:00+09:00"),
    ("2027-11-02T09:00:00+09:00", "2월 29일 12시", "2028-02-29T12:00:00+09:00"),
    ("2026-10-06T20:31:24+09:00", "2026년 10월 7일(화) 오전 12시 5분", "2026-10-07T00:05:00+09:00"),
    ("2026-10-06T20:31:24+09:00", "2026-10-07 15:00 KST", "2026-10-07T15:00:00+09:00")])
def test_a_year_that_is_not_written_is_the_nearest_one(published: str, said: str, start: str) -> None:
    read = read_body(table(row("에이(AAA)", "KRW", "x", said)), ns(published))
    assert read.starts_ns == {"AAA": ns(start)}


@pytest.mark.parametrize("said", ["추후 안내", "13월 40일 99시", "99월 1일 1시", "2월 30일 12시",
                                  "공지 게시 시점으로부터 2시간 이내", ""])
def test_a_start_that_is_not_a_time_costs_nothing_else(said: str) -> None:
    read = read_body(table(row("에이(AAA)", "KRW", "x", said)), PUBLISHED_NS)
    assert (read.markets, read.starts_ns) == ({"AAA": ("KRW",)}, {})


def test_the_start_of_deposits_is_not_that_of_trading() -> None:
    heads = ("디지털 자산", "마켓", "입출금 개시 시점", "거래지원 개시 시점")
    read = read_body(table(row("에이(AAA)", "KRW", "10월 6일 21시", "10월 6일 22시"), heads=heads), PUBLISHED_NS)
    assert read.starts_ns == {"AAA": ns("2026-10-06T22:00:00+09:00")}


def test_a_changed_start_replaces_that_of_the_table_for_the_coins_that_it_names() -> None:
    rows = [row("에이(AAA)", "KRW", "x", "10월 6일 22시"), row("비(BBB)", "KRW", "x", "10월 6일 22시")]
    changed = "<p>변경된 거래지원 개시 시점 : 2026-10-10 14:00 KST</p>"
    assert set(read_body(changed + table(*rows), PUBLISHED_NS).starts_ns.values()) == {ns("2026-10-10T14:00:00+09:00")}
    one = read_body("비(BBB) 변경된 거래지원 개시 시점: 2026-10-10 14:00<br>" + table(*rows), PUBLISHED_NS).starts_ns
    assert one == {"AAA": ns("2026-10-06T22:00:00+09:00"), "BBB": ns("2026-10-10T14:00:00+09:00")}
    twice = f"{changed}{changed.replace('-10 14', '-11 16')}{table(*rows)}"
    assert read_body(twice, PUBLISHED_NS).starts_ns["AAA"] == ns("2026-10-11T16:00:00+09:00")


def test_a_table_in_plain_text_is_read_too() -> None:
    read = read_body("안내\n| 디지털 자산 | 마켓 |\n|---|---|\n| 에이(AAA) | KRW, BTC |\n| 비(BBB) | USDT |\n", PUBLISHED_NS)
    assert read.markets == {"AAA": ("KRW", "BTC"), "BBB": ("USDT",)}


def test_an_english_table_is_read_too() -> None:
    heads = ("Digital asset", "Market", "Network", "Trading start")
    read = read_body(table(row("Numeraire(NMR)", "KRW, USDT", "Ethereum", "2026-10-06 20:45 KST"), heads=heads), PUBLISHED_NS)
    assert (read.markets, read.starts_ns) == ({"NMR": ("KRW", "USDT")}, {"NMR": ns("2026-10-06T20:45:00+09:00")})


@pytest.mark.parametrize("body", [
    "", "거래지원 개시 안내", "<table></table>", "<table><tr><td>", "</td></tr></table>", table(), table(row("에이(AAA)")),
    table(row("에이", "KRW", "x", "y")), table(row("에이(AAA)", "없음", "x", "y")), table(row("(123)", "KRW", "x", "y")),
    "<" * 10_000, "<td>" * 10_000, "|" * 10_000, table(row("에이(AAA)", "KRW"), heads=("가격", "수량"))])
def test_a_body_without_a_table_of_markets_is_refused(body: str) -> None:
    with pytest.raises(BadFrame):
        read_body(body, PUBLISHED_NS)


def test_another_table_beside_it_changes_nothing() -> None:
    other = table(row("AAA", "https://example.com"), heads=("디지털 자산", "홈페이지"))
    rows = table('<tr><td rowspan="99999999999">에이(AAA)</td><td>KRW</td><td>x</td><td>-</td></tr>')
    assert read_body(other + rows + other, PUBLISHED_NS).markets == {"AAA": ("KRW",)}


def test_the_address_of_a_body_is_on_the_host_that_serves_the_list() -> None:
    notice = Notice(source="upbit", notice_id="6642", title="", category="", published_at_ns=0, updated_at_ns=0,
                    url="https://upbit.com/service_center/notice?id=330345227")
    assert body_url(UPBIT.fallback_urls[0], notice) == "https://pub-info.upbit.com/api/v1/announcements/330345227"
    assert body_url("https://127.0.0.1:1/x?y", notice) == "https://127.0.0.1:1/api/v1/announcements/330345227"


def test_the_text_of_a_body_is_in_the_answer() -> None:
    assert body_text(json.dumps({"success": True, "data": {"id": 1, "body": NMR}}).encode()) == NMR


@pytest.mark.parametrize("answer", [
    b"", b"<html>", b"{}", b"[]", b'{"success":true}', b'{"success":true,"data":{}}', b'{"success":true,"data":{"body":null}}',
    b'{"success":true,"data":{"body":""}}', b'{"success":false,"error_message":"Not Found"}',
    b'{"success":true,"data":{"body":5}}'])
def test_any_other_answer_has_no_body(answer: bytes) -> None:
    with pytest.raises(BadFrame):
        body_text(answer)
