"""Amounts are exact, and rounded in one way."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal, localcontext

import numpy as np
import pytest

from pumpwatch.paper.amounts import (
    exact,
    exactly,
    fee_up,
    price_of,
    problem_of,
    product,
    quantity_down,
    ratio,
    shown,
    significant,
)

D = Decimal


def test_a_number_is_what_it_is_printed_as() -> None:
    assert (exact(0.1), exact(3), exact(D("0.30")), exact(np.float64(1e-7))) == (D("0.1"), D(3), D("0.30"), D("1E-7"))


def test_quantities_are_rounded_down_fees_up_and_products_to_18_places() -> None:
    assert quantity_down(0.123456789) == D("0.12345678")
    assert fee_up(D("0.000000001")) == D("0.00000001")
    assert product(D("0.000000000000000003"), D("0.5")) == D("0.000000000000000002")
    assert ratio(D(1), D(3)) == D("0.333333333333333333")
    assert significant(1.23456789012345) == D("1.23456789012")


def test_prices_have_at_most_the_digits_that_a_ledger_keeps() -> None:
    assert list(map(str, (price_of(1.10), price_of(D("1e-18")), price_of(D("1.5e-18"), ROUND_UP)))) == ["1.1", "1E-18", "2E-18"]
    assert significant(1.23456789012345e-10) == D("0.000000000123456789") and significant(1e-30) == D("1e-18")


def test_sums_are_exact_whatever_the_precision() -> None:
    with localcontext(prec=3):
        assert exactly(lambda: D("1234.5678") + D("0.00001"))() == D("1234.56781")


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not a price"):
        significant(value)


def test_figures_have_no_zeros_at_their_end() -> None:
    assert list(map(str, (shown(D("1.500")), shown(D("1000")), shown(D("0.000")), shown(1e-9), shown(2.5, 0)))) == [
        "1.5", "1000", "0", "0", "2"]


@pytest.mark.parametrize("value", [1, 0.5, D("1e-9"), np.float64(2), 10**18 - 1])
def test_an_amount_that_may_be_ordered_has_no_problem(value: object) -> None:
    assert problem_of(value, "quantity") == ""


@pytest.mark.parametrize("value", [True, None, "1", [1], D("sNaN"), 10**18, -0.0, 1j])
def test_anything_else_has_one(value: object) -> None:
    assert problem_of(value, "quantity").startswith("the quantity is ")
