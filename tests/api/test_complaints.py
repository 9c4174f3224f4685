"""A query that is not valid is answered with the field, what it may be, and an example."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pumpwatch.api.complaints import complaint
from pumpwatch.api.gaps import GapQuery
from pumpwatch.api.listings import Drill
from pumpwatch.api.recent_trades import RecentQuery
from pumpwatch.api.route import NoQuery
from pumpwatch.api.trades import TradesQuery

COIN = "give one coin, of letters and digits, for example coin=PEPE"


def said(kind: type[msgspec.Struct], given: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(given, kind, strict=False)
    return complaint(kind, caught.value, "parameter")


@pytest.mark.parametrize(("kind", "given", "words"), [
    (RecentQuery, {}, f"the parameter coin is missing: {COIN}"),
    (RecentQuery, {"coin": "a/b"}, f"the parameter coin is not valid: {COIN}"),
    (RecentQuery, {"coin": ["A", "B"]}, f"the parameter coin is not valid: {COIN}"),
    (RecentQuery, {"coin": "A", "limit": "900"}, "the parameter limit is not valid: give a whole number from 1 to 200"),
    (RecentQuery, {"coin": "A", "limit": "x"}, "the parameter limit is not valid: give a whole number from 1 to 200"),
    (RecentQuery, {"coin": "A", "size": "1"}, "size is not a parameter of this call: it takes coin, limit"),
    (NoQuery, {"a`b": "1"}, "a`b is not a parameter of this call: it takes none"),
    (TradesQuery, {"coin": "A", "format": "xml"}, "the parameter format is not valid: give one of arrow, csv, ndjson, parquet"),
    (TradesQuery, {"coin": "A", "exchange": "e" * 50},
     "the parameter exchange is not valid: give a text of at most 40 characters, once"),
    (GapQuery, {"state": "shut"}, "the parameter state is not valid: give one of any, filled, lost, open"),
    (Drill, {"coin": "A", "delay_s": -1}, "the parameter delay_s is not valid: give a number from 0 to 3600"),
    (Drill, [], "the parameters are not valid: give one object with coin, title, source, delay_s"),
])
def test_a_complaint_names_the_field_and_its_values(kind: type[msgspec.Struct], given: Any, words: str) -> None:
    assert said(kind, given) == words


def test_a_time_is_described_with_an_example() -> None:
    words = said(TradesQuery, {"coin": "A", "from": "soon"})
    assert words.startswith("the parameter from is not valid: give a time in ISO 8601") and words.endswith("for example from=-1h")


def test_a_name_that_a_caller_made_up_is_cut_and_printable() -> None:
    words = said(NoQuery, {"\x1b[2J" + "x" * 5000: "1"})
    assert "\x1b" not in words and len(words) < 200
