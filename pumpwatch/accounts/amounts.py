"""Exact amounts: at most 36 digits, 18 of them behind the point. Never a float.

Sums are exact. Products and quotients are rounded half to even at the 18th place.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

from pumpwatch.accounts.refusals import InvalidValue

PLACES = 18
ZERO, ONE = Decimal(0), Decimal(1)
BEYOND = Decimal(10) ** 18  # every amount is smaller
# a product of two amounts has 72 digits at most
_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_STEP = Decimal(1).scaleb(-PLACES)


def plain(value: Decimal) -> Decimal:
    """Return an amount in its one spelling: without trailing zeros, exponent or negative zero."""
    found = value.normalize(_EXACT)
    if not found:
        return ZERO
    return found.quantize(ONE, context=_EXACT) if found.as_tuple().exponent > 0 else found  # type: ignore[operator]


def amount(value: object, name: str) -> Decimal:
    """Return a value as an amount in its one spelling. Raises InvalidValue that names it; a float is refused."""
    if not isinstance(value, (Decimal, int)) or isinstance(value, bool):
        raise InvalidValue(f"{name}: {value!r} is not a Decimal")
    found = Decimal(value)
    if not found.is_finite():
        raise InvalidValue(f"{name}: {found} is not an amount")
    if not -BEYOND < found < BEYOND:
        raise InvalidValue(f"{name}: {found} has more than 18 digits before the point")
    found = plain(found)
    if found != found.quantize(_STEP, context=_EXACT):
        raise InvalidValue(f"{name}: {value} has more than 18 digits behind the point")
    return found


def positive(value: object, name: str) -> Decimal:
    """Return an amount above zero. Raises InvalidValue."""
    found = amount(value, name)
    if found <= 0:
        raise InvalidValue(f"{name}: {found} is not above zero")
    return found


def not_negative(value: object, name: str) -> Decimal:
    """Return an amount of at least zero. Raises InvalidValue."""
    found = amount(value, name)
    if found < 0:
        raise InvalidValue(f"{name}: {found} is below zero")
    return found


def times(first: Decimal, second: Decimal) -> Decimal:
    """Return a product. Raises InvalidValue where it is no amount."""
    return _rounded(_EXACT.multiply(first, second))


def divided(first: Decimal, second: Decimal) -> Decimal:
    """Return a quotient; the divisor is not zero. Raises InvalidValue where it is no amount."""
    return _rounded(_EXACT.divide(first, second))


def share(whole: Decimal, part: Decimal, of: Decimal) -> Decimal:
    """Return `whole` times `part` by `of`, rounded once; all of it where part and of are equal."""
    if part == of:
        return whole
    return _rounded(_EXACT.divide(_EXACT.multiply(whole, part), of))


def total(*values: Decimal) -> Decimal:
    """Return an exact sum. Raises InvalidValue where it is no amount."""
    found = ZERO
    for value in values:
        found = _EXACT.add(found, value)
    return _within(plain(found))


def _rounded(value: Decimal) -> Decimal:
    try:
        return _within(plain(value.quantize(_STEP, context=_EXACT)))
    except InvalidOperation:
        raise InvalidValue(f"{value} has more than 18 digits before the point") from None


def _within(value: Decimal) -> Decimal:
    if not -BEYOND < value < BEYOND:
        raise InvalidValue(f"{value} has more than 18 digits before the point")
    return value
