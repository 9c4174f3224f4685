"""Exact amounts: Decimals of at most 36 digits, 18 of them decimals. Never floats.

Use these functions for sums and differences, which are exact: Python's operators round to 28 digits. Products and quotients are
rounded half to even to 18 decimals.
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
    """Return an amount in canonical form: without trailing zeros, exponent or negative zero."""
    return _add(_normal(value), ZERO)  # a sum with 0 has no exponent above 0


def amount(value: object, name: str) -> Decimal:
    """Return a value as an amount in canonical form. Raises InvalidValue, which names the field; for any float, too."""
    if not isinstance(value, (Decimal, int)) or isinstance(value, bool):
        raise InvalidValue(f"{name}: {value!r} is not a Decimal")
    found = value if value.__class__ is Decimal else Decimal(value)
    if not found.is_finite():
        raise InvalidValue(f"{name}: {found} is not an amount")
    if found and found.adjusted() >= DIGITS:
        raise InvalidValue(f"{name}: {found} has more than {DIGITS} digits before the point")
    if found != _quantized(found, _STEP):
        raise InvalidValue(f"{name}: {found} has more than {PLACES} decimals")
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
    """Return a rounded product. Raises InvalidValue if it is too large."""
    return _rounded(_EXACT.multiply(first, second))


def divided(first: Decimal, second: Decimal) -> Decimal:
    """Return a rounded quotient; the divisor must not be zero. Raises InvalidValue if it is too large."""
    return _rounded(_EXACT.divide(first, second))


def share(whole: Decimal, part: Decimal, of: Decimal) -> Decimal:
    """Return `whole` x `part` / `of`, rounded once; exactly `whole` if part equals of."""
    if part == of:
        return whole
    return _rounded(_EXACT.divide(_EXACT.multiply(whole, part), of))


def total(first: Decimal, *others: Decimal) -> Decimal:
    """Return an exact sum. Raises InvalidValue if it is too large."""
    found = first
    for value in others:
        found = _add(found, value)
    if found and found.adjusted() >= DIGITS:
        raise InvalidValue(f"{found} has more than {DIGITS} digits before the point")
    return found or ZERO


def less(first: Decimal, second: Decimal) -> Decimal:
    """Return an exact difference. Raises InvalidValue if it is too large."""
    return total(first, second.copy_negate())


def negative(value: Decimal) -> Decimal:
    """Return an amount with the opposite sign. The operator `-` would round to Python's decimal context."""
    return value.copy_negate() if value else ZERO


def _rounded(value: Decimal) -> Decimal:
    if value and value.adjusted() >= DIGITS:
        raise InvalidValue(f"{value} has more than {DIGITS} digits before the point")
    return plain(_quantized(value, _STEP))
