"""Text from outside cannot forge a line, nor steer a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.printable import printable


@pytest.mark.parametrize("text", ["", "1000 normal", "비트코인 KRW 마켓 추가", "币安人生_USDT", "50 % of 3 €",
                                  "C:\\n is no line break"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(("text", "shown"), [
    ("bye\r\n2026-11-21 ERROR forged", r"bye\r\n2026-11-21 ERROR forged"),
    ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
    ("\x9b31m", r"\x9b31m"),
    ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
    ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
    ("a\udcffb", r"a\udcffb"),
    ("a\x00b\x7fc\ufeff", r"a\x00b\x7fc\ufeff"),
    ("a\xa0b\u3000c", "a b c"),
])
def test_what_would_move_the_cursor_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert printable("x" * 1000, 10) == "xxxxxxxxx…"
    assert printable("x" * 10, 10) == "x" * 10


def test_an_escape_is_not_cut_in_two() -> None:
    assert printable("abc\x1b\x1b\x1b", 10) == r"abc\x1b…"


@given(st.text(st.characters()), st.integers(1, 60))
def test_whatever_comes_leaves_as_one_bounded_line_that_can_be_written(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert len(shown.encode().splitlines()) <= 1
    assert printable(shown, limit) == shown
