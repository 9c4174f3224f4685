"""Amounts as Decimals: what a strategy gives is checked, and what is computed is rounded in one way."""

from __future__ import annotations

import math
import numbers
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Context, Decimal, InvalidOperation
from typing import Any

CONTEXT = Context(prec=60)
MOST = Decimal(10) ** 18  # of a quantity, an amount, or a price
QUANTITY_STEP = Decimal("0.00000001")
FEE_STEP = Decimal("0.00000001")
STEP = Decimal("0.000000000000000001")  # what the account ledger keeps


def problem_of(value: Any, name: str) -> str:
    """Return why a value is not an amount that may be ordered; empty where it is one."""
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
    return f"the {name} is above 10^18: {value!r:.40}" if exact > MOST else ""


def exact(value: Decimal | float | int) -> Decimal:
    """Return a number as it is printed: 0.1 is 0.1."""
    return Decimal(value) if isinstance(value, (int, Decimal)) else Decimal(repr(float(value)))


def quantity_down(value: Decimal | float) -> Decimal:
    """Return a quantity rounded down to 8 digits behind the point."""
    return exact(value).quantize(QUANTITY_STEP, ROUND_DOWN, CONTEXT)


def fee_up(value: Decimal) -> Decimal:
    """Return a fee rounded up to 8 digits behind the point."""
    return value.quantize(FEE_STEP, ROUND_UP, CONTEXT)


def product(price: Decimal, quantity: Decimal) -> Decimal:
    """Return an amount with at most 18 digits behind the point."""
    return CONTEXT.multiply(price, quantity).quantize(STEP, ROUND_HALF_EVEN, CONTEXT)


def ratio(amount: Decimal, divisor: Decimal) -> Decimal:
    """Return a quotient with at most 18 digits behind the point."""
    return CONTEXT.divide(amount, divisor).quantize(STEP, ROUND_HALF_EVEN, CONTEXT)


def shown(value: Decimal | float, digits: int = 8) -> Decimal:
    """Return a figure of a result, rounded, without zeros at its end."""
    number = Decimal(value) if isinstance(value, Decimal) else Decimal(repr(value))
    rounded = number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN, CONTEXT)
    plain = rounded.normalize(CONTEXT)
    if plain == 0:
        return Decimal(0)
    return plain.quantize(Decimal(1), context=CONTEXT) if plain.as_tuple().exponent > 0 else plain  # type: ignore[operator]


def significant(value: float, digits: int = 12) -> Decimal:
    """Return a computed price with so many digits."""
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"not a price: {value!r}")
    return Decimal(f"{value:.{digits}g}")
