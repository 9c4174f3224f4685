"""Amounts as Decimals: check a strategy's values, and round computed ones uniformly."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Context, Decimal, InvalidOperation, localcontext
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

CONTEXT = Context(prec=60)
MOST = Decimal(10) ** 18  # quantities, amounts and prices must be below this
QUANTITY_STEP = Decimal("0.00000001")
FEE_STEP = Decimal("0.00000001")
STEP = Decimal("0.000000000000000001")  # the resolution of the account ledger


def exactly(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Make a function compute with CONTEXT, whatever decimal context the strategy has set."""
    @functools.wraps(function)
    def inside(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with localcontext(CONTEXT):
            return function(*args, **kwargs)

    return inside


def problem_of(value: Any, name: str) -> str:
    """Return why a value cannot be ordered as an amount; empty if it can."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        return f"the {name} is not a number: {value!r:.40}"
    try:
        exact = Decimal(value) if isinstance(value, (int, Decimal)) else Decimal(float(value))
    except (InvalidOperation, OverflowError, ValueError):
        return f"the {name} is not a number: {value!r:.40}"
    if not exact.is_finite():
        return f"the {name} is not a finite number: {value!r:.40}"
    if exact <= 0:
        return f"the {name} is not above 0: {value!r:.40}"
    return f"the {name} is not below 10^18: {value!r:.40}" if exact >= MOST else ""


def exact(value: Decimal | float | int) -> Decimal:
    """Return a number as a Decimal with the digits that are printed: 0.1 becomes Decimal("0.1")."""
    return Decimal(value) if isinstance(value, (int, Decimal)) else Decimal(repr(float(value)))


def price_of(value: Decimal | float, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Return a price with at most 18 decimals, the resolution of the account ledger."""
    found = exact(value)
    return found if found == (kept := found.quantize(STEP, rounding, CONTEXT)) else kept


def quantity_down(value: Decimal | float) -> Decimal:
    """Return a quantity rounded down to 8 decimals."""
    return exact(value).quantize(QUANTITY_STEP, ROUND_DOWN, CONTEXT)


def fee_up(value: Decimal) -> Decimal:
    """Return a fee rounded up to 8 decimals."""
    return value.quantize(FEE_STEP, ROUND_UP, CONTEXT)


def product(price: Decimal, quantity: Decimal) -> Decimal:
    """Return price x quantity, rounded to 18 decimals."""
    return CONTEXT.multiply(price, quantity).quantize(STEP, ROUND_HALF_EVEN, CONTEXT)


def ratio(amount: Decimal, divisor: Decimal) -> Decimal:
    """Return a quotient, rounded to 18 decimals."""
    return CONTEXT.divide(amount, divisor).quantize(STEP, ROUND_HALF_EVEN, CONTEXT)


def shown(value: Decimal | float, digits: int = 8) -> Decimal:
    """Return a figure for a result, rounded, without trailing zeros."""
    number = Decimal(value) if isinstance(value, Decimal) else Decimal(repr(value))
    rounded = number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN, CONTEXT)
    plain = rounded.normalize(CONTEXT)
    if plain == 0:
        return Decimal(0)
    return plain.quantize(Decimal(1), context=CONTEXT) if plain.as_tuple().exponent > 0 else plain  # type: ignore[operator]


def significant(value: float, digits: int = 12) -> Decimal:
    """Return a computed price with this many significant digits, and at most 18 decimals. Raises ValueError."""
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"not a price: {value!r}")
    return max(price_of(Decimal(f"{value:.{digits}g}")), STEP)
