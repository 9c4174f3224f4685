"""The interface of a store can be met, and not by half."""

from __future__ import annotations

import pytest

from pumpwatch.market.interfaces import CandleStore
from tests.market.memory_store import MemoryStore


class HalfStore(CandleStore):
    def close(self) -> None:
        """Close nothing."""


def test_a_store_that_lacks_methods_cannot_be_made() -> None:
    assert isinstance(MemoryStore(), CandleStore)
    with pytest.raises(TypeError, match="abstract"):
        HalfStore()
