"""What a source gives is looked at once: it may be anything, and nothing of it but what can be meant goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, StorageError
from pumpwatch.hookspecs import ListingSource, Verdict
from pumpwatch.listing.border import (
    COINS,
    EARLIEST_NS,
    REASON_LENGTH,
    ROWS,
    SHOWN_BYTES,
    alone,
    check_listing,
    check_source,
    coin_of,
    notice_of,
    rows_of,
    verdict_of,
)
from pumpwatch.model import Notice
from tests.listing.market import ANNOUNCED_NS, listing_of

NOW_NS = ANNOUNCED_NS
HOUR_NS = 3600 * NS_PER_S
GOOD = Notice(source="other", notice_id="1", title="t", category="c", published_at_ns=NOW_NS - 1, updated_at_ns=NOW_NS - 1,
              url="https://example.com/1")


class Sly:
    """An object that helps nobody."""

    def __repr__(self) -> str:
        raise ValueError("no")

    def __iter__(self) -> Iterator[object]:
        raise SystemExit(3)


class Ending(BaseException):
    """An error that nobody expects, and that cannot be put into words."""

    def __str__(self) -> str:
        raise Ending


def raising(error: BaseException) -> Callable[[Any], Any]:
    def function(_: object) -> Any:
        raise error
    return function


def source(parse: Callable[[bytes], Any] = lambda body: [], verdict: Callable[[str], Any] = lambda title: Verdict("other"),
           ) -> ListingSource:
    return ListingSource(name="board", url="https://example.com", headers={}, interval_s=1, parse=parse, verdict=verdict)


def test_a_good_notice_passes_under_the_name_of_its_source() -> None:
    assert notice_of(GOOD, "board", NOW_NS) == replace(GOOD, source="board")
    assert notice_of(replace(GOOD, url=""), "board", NOW_NS).url == ""


@pytest.mark.parametrize("given", [None, 1, "text", b"", {}, [GOOD], Sly(), BadFrame("cannot be read")])
def test_what_is_not_a_notice_does_not_pass(given: object) -> None:
    with pytest.raises(BadFrame):
        notice_of(given, "board", NOW_NS)


@pytest.mark.parametrize("fields", [
    {"notice_id": 1}, {"notice_id": ""}, {"notice_id": "x" * 101}, {"notice_id": "1\n2"}, {"notice_id": "\x1b[2J"},
    {"notice_id": "\u202e1"}, {"notice_id": " "}, {"title": None}, {"title": "x" * 2001}, {"title": "\ud800"},
    {"category": 5}, {"category": "x" * 201}, {"url": None}, {"url": "x" * 2001}, {"url": "a\r\nb"},
    {"published_at_ns": EARLIEST_NS - 1}, {"published_at_ns": NOW_NS + HOUR_NS + 1}, {"published_at_ns": 2**63},
    {"published_at_ns": -(10**30)}, {"published_at_ns": 1.5e18}, {"published_at_ns": True}, {"published_at_ns": None},
    {"published_at_ns": str(NOW_NS)}, {"updated_at_ns": 0}, {"updated_at_ns": NOW_NS + 2 * HOUR_NS}])
def test_a_notice_with_a_field_that_cannot_be_meant_does_not_pass(fields: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        notice_of(replace(GOOD, **fields), "board", NOW_NS)


def test_times_from_2017_to_an_hour_ahead_pass() -> None:
    for at_ns in (EARLIEST_NS, NOW_NS, NOW_NS + HOUR_NS):
        assert notice_of(replace(GOOD, published_at_ns=at_ns), "board", NOW_NS).published_at_ns == at_ns


class Odd(BadFrame):
    """A bad row without words."""

    def __init__(self) -> None:
        self.message = 5  # type: ignore[assignment]


@pytest.mark.parametrize("bad", [
    replace(GOOD, published_at_ns=10**6000), replace(GOOD, title=Sly()), replace(GOOD, title="x" * 10**7),  # type: ignore[arg-type]
    BadFrame("x" * 10**7), BadFrame("a\nb\x1b[2J"), BadFrame(None), Odd(), 10**6000, "x" * 10**7],  # type: ignore[arg-type]
    ids=range(9))
def test_what_does_not_pass_is_named_in_few_words_whatever_it_is(bad: object) -> None:
    rows = rows_of(source(lambda body: [bad, GOOD]), b"", NOW_NS)
    assert len(rows.notices) == len(rows.bad) == 1
    assert len(rows.bad[0].payload) <= SHOWN_BYTES
    assert len(rows.bad[0].reason) <= REASON_LENGTH
    assert rows.bad[0].reason.isprintable()


def test_one_bad_row_costs_no_other() -> None:
    rows = rows_of(source(lambda body: [None, GOOD, Sly(), replace(GOOD, notice_id="2", published_at_ns=2**70)]), b"", NOW_NS)
    assert [one.notice_id for one in rows.notices] == ["1"]
    assert [one.reason for one in rows.bad] == [
        "a row is a NoneType, not a Notice", "a row is a Sly, not a Notice", "published_at_ns lies more than an hour ahead"]
    assert b"2" in rows.bad[2].payload


def test_rows_may_come_from_a_generator_that_fails_on_the_way() -> None:
    def parse(body: bytes) -> Iterator[Notice]:
        yield GOOD
        raise Ending

    rows = rows_of(source(parse), b"", NOW_NS)
    assert ([one.notice_id for one in rows.notices], [one.reason for one in rows.bad]) == (
        ["1"], ["its list ends in an error: Ending: "])


def test_a_list_without_end_is_read_to_its_bound() -> None:
    def parse(body: bytes) -> Iterator[Notice]:
        while True:
            yield GOOD

    rows = rows_of(source(parse), b"", NOW_NS)
    assert (len(rows.notices), rows.more) == (ROWS, True)


@pytest.mark.parametrize("given", [None, 5, Sly(), "a text", [None], [replace(GOOD, published_at_ns=0)]])
def test_what_has_no_row_that_passes_is_not_a_list_of_notices(given: object) -> None:
    with pytest.raises(BadFrame):
        rows_of(source(lambda body: given), b"", NOW_NS)


@pytest.mark.parametrize("error", [BadFrame("no"), ZeroDivisionError(), SystemExit(1), KeyboardInterrupt(), Ending(),
                                   MemoryError(), RecursionError()])
def test_whatever_a_source_raises_is_a_bad_answer(error: BaseException) -> None:
    with pytest.raises(BadFrame):
        rows_of(source(raising(error)), b"", NOW_NS)
    with pytest.raises(BadFrame):
        verdict_of(source(verdict=raising(error)), "t")


def test_an_empty_list_is_a_list() -> None:
    assert rows_of(source(), b"", NOW_NS).notices == []


@pytest.mark.parametrize("given", [
    None, "krw_listing", ("krw_listing",), Verdict("new kind"), Verdict(None), Verdict("other", "KITE"),  # type: ignore[arg-type]
    Verdict("other", None), Verdict("other", Sly()), Verdict("other", tuple(map(str, range(COINS + 1))))])  # type: ignore[arg-type]
def test_what_is_not_a_verdict_does_not_pass(given: object) -> None:
    with pytest.raises(BadFrame):
        verdict_of(source(verdict=lambda title: given), "t")


def test_of_a_verdict_the_coins_that_can_be_one_pass_each_once() -> None:
    given = Verdict("krw_listing", ("KITE", "../../x", None, "kite", "stETH", "x" * 21, "", "ＫＩＴＥ", "1INCH"),  # type: ignore[arg-type]
                    notes=("start_time", 5, "\x1b[2J"), needs_body=1)  # type: ignore[arg-type]
    judged = verdict_of(source(verdict=lambda title: given), "t")
    assert (judged.coins, len(judged.bad), judged.notes, judged.needs_body) == (
        ("KITE", "STETH", "1INCH"), 5, ("start_time",), False)
    listed = Verdict("krw_listing", iter(["KITE"]), notes=None)  # type: ignore[arg-type]
    assert verdict_of(source(verdict=lambda title: listed), "t").coins == ("KITE",)


@pytest.mark.parametrize("given", ["", "A B", "../x", "A/B", "A.B", "A\n", "Ⅷ", "é", 1, None, b"KITE"])
def test_only_ascii_letters_and_digits_are_a_coin(given: object) -> None:
    with pytest.raises(BadFrame):
        coin_of(given)


@pytest.mark.parametrize("fields", [{"symbol": "../../x"}, {"symbol": "kite"}, {"announced_at_ns": 2**62},
                                    {"detected_at_ns": 1}, {"notice_id": ""}, {"title": "x" * 3000}])
def test_a_listing_of_an_older_version_is_looked_at_too(fields: dict[str, Any]) -> None:
    check_listing(listing_of(), NOW_NS)
    with pytest.raises(BadFrame):
        check_listing(replace(listing_of(), **fields), NOW_NS)


def test_an_error_in_one_row_is_told_and_the_disks_refusal_is_raised() -> None:
    told: list[Exception] = []
    assert alone(lambda: None, told.append) is True
    assert alone(lambda: raising(LookupError("x"))(0), told.append) is False
    assert [type(one) for one in told] == [LookupError]
    with pytest.raises(StorageError):
        alone(lambda: raising(StorageError("full"))(0), told.append)


@pytest.mark.parametrize("facts", [
    {"name": ""}, {"name": "a\nb"}, {"url": None}, {"url": ""}, {"fallback_urls": None}, {"fallback_urls": [1]},
    {"headers": None},
    {"headers": {"a": 1}}, {"interval_s": 0}, {"interval_s": float("nan")}, {"interval_s": "1"}, {"parse": None},
    {"verdict": "x"}])
def test_a_source_that_cannot_be_asked_is_left_out(facts: dict[str, Any]) -> None:
    check_source(source())
    with pytest.raises(BadFrame):
        check_source(replace(source(), **facts))
