"""REST answers are damaged in the ways that a fault names."""

from __future__ import annotations

import pytest

from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.http_messages import HttpReply
from pumpwatch.sim.rest_faults import FORMS, LARGE_BYTES, PAGE, damaged, shortened
from tests.sim.fakes import TABLE

BODY = b'{"symbols":[1,2]}'


@pytest.mark.parametrize(("form", "body"), [
    ("page", PAGE), ("nothing", b""), ("half", BODY[:8]), ("listed", b"[" + BODY + b"]"), ("few", BODY), ("without", BODY)])
def test_an_answer_is_replaced_cut_or_wrapped(form: str, body: bytes) -> None:
    assert damaged(HttpReply(200, BODY), form).body == body and form in FORMS


def test_a_large_answer_is_the_same_with_40_mb_of_spaces() -> None:
    large = damaged(HttpReply(200, BODY), "large").body
    assert len(large) == len(BODY) + LARGE_BYTES and large.rstrip() == BODY


@pytest.mark.parametrize(("form", "symbols"), [
    ("few", ["AAA"]), ("none", []), ("without", ["BBB"]), ("half", ["AAA", "BBB"]), ("", ["AAA", "BBB"])])
def test_a_list_is_shortened(form: str, symbols: list[str]) -> None:
    assert shortened(TradeHistory(TABLE, 10), form, "AAA").table.symbols == symbols
