"""Divide the symbols of a venue into slices, in the same way on every host."""

from __future__ import annotations

import hashlib


def slice_of(symbol: str, count: int) -> int:
    """Return the number of a symbol's slice, from 0 to `count` - 1.

    It depends only on the symbol's text and the count, so every process and version finds the same slice. Raises ValueError if
    the count is not positive.
    """
    if count < 1:
        raise ValueError(f"the number of slices must be positive, not {count}")
    return int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "big") % count
