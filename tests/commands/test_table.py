"""Tables: as many columns as fit, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.commands.table import Cell, Column, aligned, cut, fit, plain, render, text_width, wrapped
from tests.commands.rendered import check_lines

COLUMNS = (Column("venue"), Column("connections", "up", right=True), Column("id", rank=1), Column("note", rank=2),
           Column("reason", wraps=True))
ROWS = [[Cell("binance.futures", "binance.f"), "12/12", "1" * 19, "n" * 20, "reset"],
        [Cell("okx.spot", "okx.s"), "1/2", "22", "", "the venue closed it"]]


def test_everything_is_shown_in_full_where_there_is_room() -> None:
    assert render(COLUMNS, ROWS, 120) == [
        "venue            connections  id                   note                  reason",
        "binance.futures        12/12  1111111111111111111  nnnnnnnnnnnnnnnnnnnn  reset",
        "okx.spot                 1/2  22                                         the venue closed it"]


def test_short_spellings_come_first_and_then_the_columns_of_the_highest_rank_go() -> None:
    assert render(COLUMNS, ROWS, 86)[0] == "venue         up  id                   note                  reason"
    assert render(COLUMNS, ROWS, 60) == [
        "venue         up  id                   reason",
        "binance.f  12/12  1111111111111111111  reset",
        "okx.s        1/2  22                   the venue closed it"]
    assert render(COLUMNS, ROWS, 40) == [
        "venue         up  reason", "binance.f  12/12  reset", "okx.s        1/2  the venue closed it"]


def test_a_reason_goes_on_in_the_next_line() -> None:
    row = ["a", "the connection was closed by the venue"]
    assert render((Column("x"), Column("why", wraps=True)), [row], 27) == [
        "x  why", "a  the connection was", "   closed by the venue"]


def test_a_remark_stands_below_its_row_in_the_whole_width() -> None:
    assert render((Column("x"),), [["a"], "mend it by hand", ["b"]], 20) == ["x", "a", "  mend it by hand", "b"]


def test_an_optional_column_is_there_only_where_a_cell_is() -> None:
    columns = (Column("symbol"), Column("per", optional=True))
    assert render(columns, [["PEPEUSDT", ""]], 80) == ["symbol", "PEPEUSDT"]
    layout = fit(columns, [["PEPEUSDT", ""]], 80)
    assert layout.holds([["BTCUSDT", ""]]) and not layout.holds([["BTCUSDT", "1000"]])
    assert not layout.holds([["1000PEPEUSDT", ""]])


def test_states_have_colours_that_take_no_room() -> None:
    plain_lines, colored = (render((Column("state"), Column("x")), [["ok", "1"], ["fail", "2"]], 80, color)
                            for color in (False, True))
    assert [line.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "") for line in colored] == plain_lines
    assert colored != plain_lines


def test_a_wide_character_takes_two_columns_and_a_combining_one_none() -> None:
    assert [text_width(text) for text in ("abc", "币安人生", "솜니아", "e\u0301")] == [3, 8, 6, 1]
    assert render((Column("symbol"), Column("n", right=True)), [["币安", "1"], ["abc", "22"]], 80) == [
        "symbol   n", "币安     1", "abc     22"]
    assert (cut("币安人生", 5), cut("abc", 3), wrapped("币安人生", 4)) == ("币安…", "abc", ["币安", "人生"])


@pytest.mark.parametrize(("number", "text"), [
    (1e-05, "0.00001"), (8.1e-08, "0.000000081"), (0.1 + 0.2, "0.3"), (61800.5, "61800.5"), (1e15, "1000000000000000"),
    (123456789012345.0, "123456789012345"), (0.0, "0"), (-2.5, "-2.5"), (float("nan"), "nan")])
def test_a_number_is_plain_decimals(number: float, text: str) -> None:
    assert plain(number) == text


def test_few_digits_of_a_number_never_cost_one_before_the_point() -> None:
    assert (plain(49586739.7953, 6), plain(0.00123456789, 6)) == ("49586740", "0.00123457")


def test_decimal_points_stand_above_each_other() -> None:
    assert aligned([1.5, 22.0, 0.125]) == ["1.5  ", "22    ", "0.125"]
    assert aligned([3.0, 4.0]) == ["3", "4"]
    assert aligned([3.0], 2) == ["3   "]


@settings(max_examples=50)
@given(st.lists(st.lists(st.text("ab 币1.…", max_size=40), min_size=4, max_size=4), max_size=3), st.integers(20, 130))
def test_no_line_is_wider_than_the_terminal(rows: list[list[str]], width: int) -> None:
    columns = (Column("a"), Column("b", right=True, rank=1), Column("c", wraps=True), Column("d", wraps=True))
    check_lines(render(columns, rows, width), width)
