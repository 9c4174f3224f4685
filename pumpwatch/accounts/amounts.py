"""Exact amounts: at most 36 digits, 18 of them behind the point. Never a float.

Sums and differences are made here and are exact: Python's own operators round to 28 digits. Products and quotients are rounded
half to even at the 18th place.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from pumpwatch.accounts.refusals import InvalidValue

PLACES, DIGITS = 18, 18  # behind the point, and before it
ZERO, ONE = Decimal(0), Decimal(1)
# a product of two amounts has 72 digits at most
_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_add, _normal, _quantized = _EXACT.add, _EXACT.normalize, _EXACT.quantize
_STEP = Decimal(1).scaleb(-PLACES)


def plain(value: Decimal) -> Decimal:
    """Return an amount in its one spelling: without trailing zeros, exponent or negative zero."""
    return _add(_normal(value), ZERO)  # a sum with 0 has no exponent above 0


def amount(value: object, name: str) -> Decimal:
    """Return a value as an amount in its one spelling. Raises InvalidValue that names it; a float is refused."""
    if not isinstance(value, (Decimal, int)) or isinstance(value, bool):
        raise InvalidValue(f"{name}: {value!r} is not a Decimal")
    found = value if value.__class__ is Decimal else Decimal(value)
    if not found.is_finite():
        raise InvalidValue(f"{name}: {found} is not an amount")
    if found and found.adjusted() >= DIGITS:
        raise InvalidValue(f"{name}: {found} has more than {DIGITS} digits before the point")
    if found != _quantized(found, _STEP):
        raise InvalidValue(f"{name}: {found} has more than {PLACES} digits behind the point")
    return plain(found)


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
    """Return a product. Raises InvalidValue where it is not an amount."""
    return _rounded(_EXACT.multiply(first, second))


def divided(first: Decimal, second: Decimal) -> Decimal:
    """Return a quotient; the divisor is not zero. Raises InvalidValue where it is not an amount."""
    return _rounded(_EXACT.divide(first, second))


def share(whole: Decimal, part: Decimal, of: Decimal) -> Decimal:
    """Return `whole` times `part` by `of`, rounded once; all of it where part and of are equal."""
    if part == of:
        return whole
    return _rounded(_EXACT.divide(_EXACT.multiply(whole, part), of))


def total(first: Decimal, *others: Decimal) -> Decimal:
    """Return an exact sum. Raises InvalidValue where it is not an amount."""
    found = first
    for value in others:
        found = _add(found, value)
    if found and found.adjusted() >= DIGITS:
        raise InvalidValue(f"{found} has more than {DIGITS} digits before the point")
    return found or ZERO


def less(first: Decimal, second: Decimal) -> Decimal:
    """Return an exact difference. Raises InvalidValue where it is not an amount."""
    return total(first, second.copy_negate())


def negative(value: Decimal) -> Decimal:
    """Return an amount with the other sign. A minus sign in the code would round to the digits of Python's context."""
    return value.copy_negate() if value else ZERO


def _rounded(value: Decimal) -> Decimal:
    if value and value.adjusted() >= DIGITS:
        raise InvalidValue(f"{value} has more than {DIGITS} digits before the point")
    return plain(_quantized(value, _STEP))
