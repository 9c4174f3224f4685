"""Amounts are exact: 36 digits, 18 of them behind the point."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.accounts.amounts import amount, divided, less, negative, not_negative, plain, positive, share, times, total
from pumpwatch.accounts.refusals import InvalidValue

D = Decimal
LARGEST = D("999999999999999999.999999999999999999")
AMOUNTS = st.integers(-(10**27), 10**27).map(lambda units: D(units).scaleb(-18))
HALF_A_STEP = Fraction(1, 2 * 10**18)


@pytest.mark.parametrize(("value", "said"), [
    (D("NaN"), "not an amount"), (D("-Infinity"), "not an amount"), (D(10) ** 30, "18 digits before"),
    (D(10) ** 18, "18 digits before"), (D("1e-19"), "18 decimals"), (D("1.0000000000000000001"), "18 decimals"),
    (1.5, "not a Decimal"), ("1", "not a Decimal"), (None, "not a Decimal"),
    (True, "not a Decimal"), (D("1E+9999"), "18 digits before"),
])
def test_what_is_no_amount_is_refused_by_its_name(value: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=f"price: .*{said}"):
        amount(value, "price")


@pytest.mark.parametrize("value", [D(0), D("-0"), D("0E-30"), LARGEST, LARGEST.copy_negate(), D("1.5000"), D("1E+17"), 7])
def test_an_amount_has_one_spelling(value: Decimal | int) -> None:
    found = amount(value, "price")
    assert found == value and "E+" not in str(found) and "-0" not in (str(found), f"{found:f}")
    assert not f"{found:f}".endswith("0") or found == found.to_integral_value()


def test_signs_are_asked_for() -> None:
    for value in (D(0), D(-1)):
        with pytest.raises(InvalidValue, match="not above zero"):
            positive(value, "quantity")
    with pytest.raises(InvalidValue, match="below zero"):
        not_negative(D("-0.1"), "fee")
    assert not_negative(D(0), "fee") == 0


@settings(max_examples=50)
@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_sums_are_exact_and_products_are_rounded_once(a: Decimal, b: Decimal, c: Decimal) -> None:
    x, y, z = map(Fraction, (a, b, c))
    assert Fraction(total(a, b, c)) == x + y + z and Fraction(less(a, b)) == x - y and Fraction(negative(a)) == -x
    if abs(x * y) < 10**18:
        assert abs(Fraction(times(a, b)) - x * y) <= HALF_A_STEP
    if y and abs(x / y) < 10**18:
        assert abs(Fraction(divided(a, b)) - x / y) <= HALF_A_STEP
    if z and abs(x * y / z) < 10**18:
        assert abs(Fraction(share(a, b, c)) - x * y / z) <= HALF_A_STEP


def test_results_beyond_an_amount_are_refused() -> None:
    for result in (lambda: times(LARGEST, D(2)), lambda: total(LARGEST, D("1e-18")), lambda: divided(LARGEST, D("0.1"))):
        with pytest.raises(InvalidValue, match="18 digits before"):
            result()
    assert share(LARGEST, LARGEST, LARGEST) == LARGEST and plain(D("100.00")) == 100
