"""An order knows its side and its limit."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pumpwatch.paper.orders import BUY, SELL, PaperOrder


@pytest.mark.parametrize(("sign", "limit", "price", "beyond"), [
    (BUY, "1.5", 1.6, True), (BUY, "1.5", 1.5, False), (SELL, "1.5", 1.4, True), (SELL, "1.5", 1.5, False),
    (BUY, None, 9.0, False)])
def test_a_price_beyond_the_limit_is_worse(sign: int, limit: str | None, price: float, beyond: bool) -> None:
    order = PaperOrder("o1", 0, sign, Decimal(1), limit if limit is None else Decimal(limit), False, False, 1, 0)
    assert order.beyond(price) is beyond
    assert order.side == {BUY: "buy", SELL: "sell"}[sign]
