"""Whatever a source returns is validated once, and only valid rows and coins go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, StorageError
from pumpwatch.hookspecs import ListingSource, MarketSource, NoticeBody, Pace, PushSource, Verdict
from pumpwatch.listing.validation import (
    COINS,
    EARLIEST_NS,
    REASON_LENGTH,
    ROWS,
    SHOWN_BYTES,
    check_listing,
    check_source,
    checked_body,
    checked_coin,
    checked_notice,
    checked_rows,
    checked_verdict,
    isolated,
)
from pumpwatch.model import Notice
from tests.listing.market import ANNOUNCED_NS, listing_of

NOW_NS = ANNOUNCED_NS
HOUR_NS = 3600 * NS_PER_S
GOOD = Notice(source="other", notice_id="1", title="t", category="c", published_at_ns=NOW_NS - 1, updated_at_ns=NOW_NS - 1,
              url="https://example.com/1")


class Hostile:
    """An object that cannot be shown or iterated."""

    def __repr__(self) -> str:
        raise ValueError("no")

    def __iter__(self) -> Iterator[object]:
        raise SystemExit(3)


class Ending(BaseException):
    """An unexpected error without a printable message."""

    def __str__(self) -> str:
        raise Ending


def raising(error: BaseException) -> Callable[[Any], Any]:
    def function(_: object) -> Any:
        raise error
    return function


def source(parse: Callable[[bytes], Any] = lambda body: [], verdict: Callable[[str], Any] = lambda title: Verdict("other"),
           ) -> ListingSource:
    return ListingSource(name="board", url="https://example.com", headers={}, interval_s=1, parse=parse, verdict=verdict)


def test_a_valid_notice_passes_under_the_name_of_its_source() -> None:
    assert checked_notice(GOOD, "board", NOW_NS) == replace(GOOD, source="board")
    assert checked_notice(replace(GOOD, url=""), "board", NOW_NS).url == ""


@pytest.mark.parametrize("given", [None, 1, "text", b"", {}, [GOOD], Hostile(), BadFrame("cannot be read")])
def test_what_is_not_a_notice_does_not_pass(given: object) -> None:
    with pytest.raises(BadFrame):
        checked_notice(given, "board", NOW_NS)


@pytest.mark.parametrize("fields", [
    {"notice_id": 1}, {"notice_id": ""}, {"notice_id": "x" * 101}, {"notice_id": "1\n2"}, {"notice_id": "\x1b[2J"},
    {"notice_id": "\u202e1"}, {"notice_id": " "}, {"title": None}, {"title": "x" * 2001}, {"title": "\ud800"},
    {"category": 5}, {"category": "x" * 201}, {"coins": ["KITE"]}, {"coins": ("A",) * 1001}, {"body": b"x"}, {"raw": None},
    {"body": "x" * 1_000_001}, {"url": None}, {"url": "x" * 2001}, {"url": "a\r\nb"},
    {"published_at_ns": EARLIEST_NS - 1}, {"published_at_ns": NOW_NS + HOUR_NS + 1}, {"published_at_ns": 2**63},
    {"published_at_ns": -(10**30)}, {"published_at_ns": 1.5e18}, {"published_at_ns": True}, {"published_at_ns": None},
    {"published_at_ns": str(NOW_NS)}, {"updated_at_ns": 0}, {"updated_at_ns": NOW_NS + 2 * HOUR_NS}])
def test_a_notice_with_an_invalid_field_does_not_pass(fields: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        checked_notice(replace(GOOD, **fields), "board", NOW_NS)


def test_times_from_2017_to_an_hour_ahead_pass() -> None:
    for at_ns in (EARLIEST_NS, NOW_NS, NOW_NS + HOUR_NS):
        assert checked_notice(replace(GOOD, published_at_ns=at_ns), "board", NOW_NS).published_at_ns == at_ns


class Wordless(BadFrame):
    """A rejected row whose message is not text."""

    def __init__(self) -> None:
        self.message = 5  # type: ignore[assignment]


@pytest.mark.parametrize("bad", [
    replace(GOOD, published_at_ns=10**6000), replace(GOOD, title=Hostile()), replace(GOOD, title="x" * 10**7),  # type: ignore[arg-type]
    BadFrame("x" * 10**7), BadFrame("a\nb\x1b[2J"), BadFrame(None), Wordless(), 10**6000, "x" * 10**7],  # type: ignore[arg-type]
    ids=range(9))
def test_a_rejected_row_has_a_short_reason_and_payload_whatever_it_is(bad: object) -> None:
    rows = checked_rows(source(lambda body: [bad, GOOD]), b"", NOW_NS)
    assert len(rows.notices) == len(rows.rejected) == 1
    assert len(rows.rejected[0].payload) <= SHOWN_BYTES
    assert len(rows.rejected[0].reason) <= REASON_LENGTH
    assert rows.rejected[0].reason.isprintable()


def test_an_invalid_row_affects_no_other() -> None:
    rows = checked_rows(source(lambda body: [None, GOOD, Hostile(), replace(GOOD, notice_id="2", published_at_ns=2**70)]),
                        b"", NOW_NS)
    assert [notice.notice_id for notice in rows.notices] == ["1"]
    assert [row.reason for row in rows.rejected] == [
        "a row is a NoneType, not a Notice", "a row is a Hostile, not a Notice", "published_at_ns is more than an hour ahead"]
    assert b"2" in rows.rejected[2].payload


def test_young_notices_are_judged_with_their_list_and_an_invalid_verdict_is_left_for_later() -> None:
    def judge(title: str) -> Verdict:
        return Verdict("krw_listing", ("KITE",)) if title == "young" else Verdict("new kind")

    notices = [replace(GOOD, notice_id=str(number), title=title, published_at_ns=NOW_NS - age_s * NS_PER_S)
               for number, (title, age_s) in enumerate([("young", 5), ("odd", 5), ("old", 3600)])]
    rows = checked_rows(source(lambda body: notices, judge), b"", NOW_NS)
    assert {title: verdict.coins for title, verdict in rows.verdicts.items()} == {"young": ("KITE",)}


def test_rows_may_come_from_a_generator_that_fails_on_the_way() -> None:
    def parse(body: bytes) -> Iterator[Notice]:
        yield GOOD
        raise Ending

    rows = checked_rows(source(parse), b"", NOW_NS)
    assert ([notice.notice_id for notice in rows.notices], [row.reason for row in rows.rejected]) == (
        ["1"], ["the list ends in an error: Ending: "])


def test_a_list_without_end_is_read_to_its_bound() -> None:
    def parse(body: bytes) -> Iterator[Notice]:
        while True:
            yield GOOD

    rows = checked_rows(source(parse), b"", NOW_NS)
    assert (len(rows.notices), rows.more) == (ROWS, True)


@pytest.mark.parametrize("given", [None, 5, Hostile(), "a text", [None], [replace(GOOD, published_at_ns=0)]])
def test_a_result_without_a_valid_row_is_not_a_list_of_notices(given: object) -> None:
    with pytest.raises(BadFrame):
        checked_rows(source(lambda body: given), b"", NOW_NS)


@pytest.mark.parametrize("error", [BadFrame("no"), ZeroDivisionError(), SystemExit(1), KeyboardInterrupt(), Ending(),
                                   MemoryError(), RecursionError()])
def test_whatever_a_source_raises_is_a_bad_answer(error: BaseException) -> None:
    with pytest.raises(BadFrame):
        checked_rows(source(raising(error)), b"", NOW_NS)
    with pytest.raises(BadFrame):
        checked_verdict(source(verdict=raising(error)), GOOD)


def test_an_empty_list_is_a_list() -> None:
    assert checked_rows(source(), b"", NOW_NS).notices == []


@pytest.mark.parametrize("given", [
    None, "krw_listing", ("krw_listing",), Verdict("new kind"), Verdict(None), Verdict("other", "KITE"),  # type: ignore[arg-type]
    Verdict("other", None), Verdict("other", Hostile()), Verdict("other", tuple(map(str, range(COINS + 1))))])  # type: ignore[arg-type]
def test_what_is_not_a_verdict_does_not_pass(given: object) -> None:
    with pytest.raises(BadFrame):
        checked_verdict(source(verdict=lambda title: given), GOOD)


def test_the_coins_that_a_notice_names_itself_need_no_verdict() -> None:
    judged = checked_verdict(source(verdict=raising(ZeroDivisionError())), replace(GOOD, coins=("KITE", "../x", "kite")))
    assert (judged.kind, judged.coins, len(judged.rejected)) == ("krw_listing", ("KITE",), 1)


def board(given: object) -> ListingSource:
    return replace(source(), body_url=lambda url, notice: url, body_text=lambda body: "", read_body=lambda text, at_ns: given)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("given", [None, 5, {}, NoticeBody({}), NoticeBody(None), NoticeBody({"../x": ("KRW",)}),  # type: ignore[arg-type]
                                   NoticeBody({"KITE": 5}), NoticeBody({"KITE": ("KRW/",)}),
                                   NoticeBody({"KITE": ("KRW",)}, None)])  # type: ignore[arg-type, dict-item]
def test_what_is_not_a_body_with_a_coin_does_not_pass(given: object) -> None:
    with pytest.raises(BadFrame):
        checked_body(board(given), "text", NOW_NS)


def test_the_valid_coins_of_a_body_pass_with_the_starts_that_can_be_meant() -> None:
    given = NoticeBody({"kite": ["KRW", "BTC"], "A": (), "..": ("KRW",)}, {"kite": NOW_NS, "A": 10**30, "..": NOW_NS})  # type: ignore[dict-item]
    coins, starts_ns, rejected = checked_body(board(given), "text", NOW_NS)
    assert (coins, starts_ns, len(rejected)) == ({"KITE": ("KRW", "BTC"), "A": ()}, {"KITE": NOW_NS}, 1)


def test_the_valid_coins_of_a_verdict_pass_each_once() -> None:
    given = Verdict("krw_listing", ("KITE", "../../x", None, "kite", "stETH", "x" * 21, "", "ＫＩＴＥ", "1INCH"),  # type: ignore[arg-type]
                    notes=("start_time", 5, "\x1b[2J"), needs_body=1)  # type: ignore[arg-type]
    judged = checked_verdict(source(verdict=lambda title: given), GOOD)
    assert (judged.coins, len(judged.rejected), judged.notes, judged.needs_body) == (
        ("KITE", "STETH", "1INCH"), 5, ("start_time",), False)
    listed = Verdict("krw_listing", iter(["KITE"]), notes=None)  # type: ignore[arg-type]
    assert checked_verdict(source(verdict=lambda title: listed), GOOD).coins == ("KITE",)


@pytest.mark.parametrize("given", ["", "A B", "../x", "A/B", "A.B", "A\n", "Ⅷ", "é", 1, None, b"KITE"])
def test_only_ascii_letters_and_digits_are_a_coin(given: object) -> None:
    with pytest.raises(BadFrame):
        checked_coin(given)


@pytest.mark.parametrize("fields", [{"symbol": "../../x"}, {"symbol": "kite"}, {"announced_at_ns": 2**62},
                                    {"detected_at_ns": 1}, {"notice_id": ""}, {"title": "x" * 3000}])
def test_a_listing_of_an_older_version_is_checked_too(fields: dict[str, Any]) -> None:
    check_listing(listing_of(), NOW_NS)
    with pytest.raises(BadFrame):
        check_listing(replace(listing_of(), **fields), NOW_NS)


def test_an_error_in_one_row_is_handed_over_and_a_storage_error_is_raised() -> None:
    errors: list[Exception] = []
    assert isolated(lambda: None, errors.append) is True
    assert isolated(lambda: raising(LookupError("x"))(0), errors.append) is False
    assert [type(error) for error in errors] == [LookupError]
    with pytest.raises(StorageError):
        isolated(lambda: raising(StorageError("full"))(0), errors.append)


@pytest.mark.parametrize("facts", [
    {"name": ""}, {"name": "a\nb"}, {"url": None}, {"url": ""}, {"fallback_urls": None}, {"fallback_urls": [1]},
    {"headers": None},
    {"headers": {"a": 1}}, {"interval_s": 0}, {"interval_s": float("nan")}, {"interval_s": "1"}, {"parse": None},
    {"verdict": "x"}, {"exchange": "../x"}, {"exchange": None}, {"exchange": "x" * 33}, {"exchange": "Upbit"},
    {"pace": (9, 20)}, {"pace": Pace(utc_offset_min=0, day=(0, 1), night_s=0, quick_s=1)}])
def test_a_source_with_invalid_facts_is_rejected(facts: dict[str, Any]) -> None:
    check_source(source())
    with pytest.raises(BadFrame):
        check_source(replace(source(), **facts))


def test_each_kind_of_source_is_checked_for_its_own_functions() -> None:
    push = PushSource(name="p", exchange="upbit", listen=print, parse=bytes, verdict=Verdict)  # type: ignore[arg-type]
    markets = MarketSource(name="m", url="https://example.com", headers={}, interval_s=1, parse=bytes)  # type: ignore[arg-type]
    assert (push.delivery, markets.delivery, source().delivery) == ("push", "pull", "pull")
    for good in (push, markets, replace(push, verdict=None, board="upbit")):
        check_source(good)
    for bad in (replace(push, listen=None), replace(push, verdict=None), replace(markets, parse=None),  # type: ignore[arg-type]
                replace(source(), body_url=lambda url, notice: url), replace(push, configured=None),  # type: ignore[arg-type]
                replace(markets, interval_s=-1)):
        with pytest.raises(BadFrame):
            check_source(bad)


def test_a_rejected_row_has_its_id_and_says_whether_it_lies_ahead_of_our_clock() -> None:
    later_ns = NOW_NS + 5 * HOUR_NS
    given = [replace(GOOD, notice_id="2", published_at_ns=later_ns), replace(GOOD, notice_id="3", title="x" * 3000),
             replace(GOOD, notice_id="\n", updated_at_ns=later_ns), replace(GOOD, notice_id="4", published_at_ns=2**70),
             BadFrame("unreadable"), GOOD]
    rows = checked_rows(source(lambda body: given), b"", NOW_NS)
    assert [(row.notice_id, row.ahead) for row in rows.rejected] == [
        ("2", True), ("3", False), ("", True), ("4", False), ("", False)]
