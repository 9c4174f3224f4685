"""The base class of a section, and the types of its values."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.config_section import Count, Folder, NotNegative, Positive, PositiveInt, Section


class Example(Section):
    positive: Positive = 1.0
    positive_int: PositiveInt = 1
    not_negative: NotNegative = 0.0
    count: Count = 0
    folder: Folder = "data"


@pytest.mark.parametrize("given", [{"positive": 0}, {"positive_int": 0}, {"not_negative": -1}, {"count": -1}, {"folder": ""},
                                   {"other": 1}])
def test_a_value_out_of_range_and_an_unknown_key_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Example)


def test_every_key_may_be_left_out() -> None:
    assert msgspec.convert({}, Example) == Example()
