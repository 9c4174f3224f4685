"""Divides the symbols of a venue into slices, in the same way on every host."""

from __future__ import annotations

import hashlib


def slice_of(symbol: str, count: int) -> int:
    """Return the number of the slice that a symbol belongs to, from 0 to `count` - 1.

    It depends on the symbol's text and the count alone, so every process and version finds the same slice. Raises ValueError if
    the count is not positive.
    """
    if count < 1:
        raise ValueError(f"slices: {count} is not a positive number")
    return int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "big") % count
