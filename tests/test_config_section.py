"""The types of a section refuse values out of their range."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.config_section import Count, NotNegative, Positive, PositiveInt, Section


class Every(Section):
    pause_s: Positive = 1.0
    rows: PositiveInt = 1
    wait_s: NotNegative = 0.0
    number: Count = 0


@pytest.mark.parametrize("wrong", [
    {"pause_s": 0.0}, {"rows": 0}, {"wait_s": -0.1}, {"number": -1}, {"unknown": 1}])
def test_a_section_refuses_a_value_out_of_range_and_an_unknown_key(wrong: dict[str, float]) -> None:
    assert msgspec.convert({}, Every) == Every()
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Every)
