"""Verdicts on titles, with hostile input too, and the command that prints them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.sources.upbit import UPBIT, WORDING

import pumpwatch
from pumpwatch.errors import UsageError
from pumpwatch.listing.title_grammar import HOLE
from pumpwatch.listing.title_verdict import judge, titles_command

PIECES = ["(", ")", "[", "]", " ", ",", "KRW", "BTC", "원화", "마켓", "및", "카이트", "KITE", "오픈", "코인 추가",
          "신규 거래지원 안내", "디지털 자산 추가", "Market Support for", "(A)", "(KRW 마켓)", "/", ":", "에 따른",
          "종료", "이벤트", HOLE, "Ａ", "ﬁ", "\u200b", "😀"]
HOSTILE = [*PIECES, "KRW, ", "((", "가(A) ", "원화마켓 오픈 ", "신규 거래지원 ", "A/", "KRW 및 ", "입금 ",
           "KRW 마켓 오픈 ("]
NOTES = ["거래지원 개시 시점 안내", "업데이트", "유통량 계획표 수정 안내"]
TITLES = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
TICKERS = st.from_regex(r"[A-Z0-9]{0,4}[A-Z][A-Z0-9]{0,4}", fullmatch=True).filter(lambda t: t not in WORDING.markets)
NAMES = st.text(alphabet="가나다라마바사아자차", min_size=1, max_size=8)


def test_the_grammar_is_also_known_by_its_old_name() -> None:
    title = "카이트(KITE) 신규 거래지원 안내 (KRW 마켓)"
    assert judge(title, wording=WORDING) == judge(title, grammar=WORDING) == judge(title, WORDING)
    assert pumpwatch.Wording is pumpwatch.TitleGrammar and "Wording" in pumpwatch.__all__
    with pytest.raises(TypeError, match="needs a grammar"):
        judge(title)


@given(TITLES)
def test_no_title_breaks_it_and_a_krw_coin_always_has_a_krw_market(title: str) -> None:
    verdict = judge(title, WORDING)
    assert all("KRW" in verdict.markets[symbol] for symbol in verdict.symbols)
    assert (verdict.kind == "krw_listing") or verdict.symbols == ()
    assert verdict.kind != "krw_listing" or verdict.symbols or verdict.needs_body


@given(st.lists(st.tuples(NAMES, TICKERS, st.sets(st.sampled_from(["KRW", "BTC", "USDT"]), min_size=1)),
                min_size=1, max_size=5, unique_by=lambda coin: coin[1]), st.booleans())
def test_coins_with_lists_of_their_own_keep_them(coins: list[tuple[str, str, set[str]]], inline: bool) -> None:
    form = "{}({}) {} 마켓" if inline else "{}({})({} 마켓)"
    title = ", ".join(form.format(name, ticker, ", ".join(sorted(markets))) for name, ticker, markets in coins)
    verdict = judge(f"{title} 신규 거래지원 안내", WORDING)
    assert {ticker: set(markets) for ticker, markets in verdict.markets.items()} == {t: m for _, t, m in coins}
    assert set(verdict.symbols) == {ticker for _, ticker, markets in coins if "KRW" in markets}
    assert not verdict.needs_body or not verdict.symbols


@given(st.lists(st.tuples(NAMES, TICKERS), min_size=2, max_size=6, unique_by=lambda coin: coin[1]),
       st.lists(st.sampled_from(NOTES), max_size=3))
def test_coins_that_share_a_list_of_markets_need_the_body(coins: list[tuple[str, str]], notes: list[str]) -> None:
    named = ", ".join(f"{name}({ticker})" for name, ticker in coins)
    tail = "".join(f" ({note})" for note in notes)
    verdict = judge(f"{named} 신규 거래지원 안내 (KRW, BTC 마켓){tail}", WORDING)
    assert set(verdict.symbols) == {ticker for _, ticker in coins}
    assert verdict.needs_body
    assert len(verdict.notes) == len(notes)


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_title_of_a_megabyte_is_cut_and_judged(piece: str) -> None:
    assert judge(piece * (1_000_000 // len(piece)), WORDING).kind


def test_titles_are_judged_line_by_line_raw_or_json(tmp_path: Path) -> None:
    text = ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC 마켓)\n\n"
            '{"title": "불공정거래 예방조치 제도 안내", "label": "other"}\n'
            "[이벤트] 아무 이벤트\n")
    file = tmp_path / "titles.txt"
    file.write_text(text, "utf-8")
    found = list(titles_command(file, UPBIT))
    assert found == list(titles_command(io.StringIO(text), UPBIT)) == list(titles_command(str(file), UPBIT))
    assert [verdict["kind"] for verdict in found] == ["krw_listing", "other", "event"]
    assert found[0] == {"kind": "krw_listing", "symbols": ["KITE"], "markets": {"KITE": ["KRW", "BTC"]},
                        "needs_body": False, "notes": [], "title": "카이트(KITE) 신규 거래지원 안내 (KRW, BTC 마켓)"}


def test_a_file_that_cannot_be_read_and_json_without_a_title_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        list(titles_command(tmp_path / "none", UPBIT))
    with pytest.raises(UsageError, match="line 2"):
        list(titles_command(io.StringIO('a\n{"name": 1}\n'), UPBIT))
