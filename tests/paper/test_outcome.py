"""The figures of a replay beyond those of the golden run in test_engine."""

from __future__ import annotations

from decimal import Decimal

from pumpwatch.paper.orders import BUY, Action, PaperOrder
from pumpwatch.paper.outcome import outcome_of
from pumpwatch.paper.results import EQUITY_POINTS, RejectedOrder
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, Row, ms, tape

D = Decimal
SETTINGS = Settings(size=D(100))


def filled(side: str, at: float, price: str, quantity: int, order_id: str, market_type: str = "spot",
           kind: str = "filled") -> Action:
    return Action(kind=kind, at=ms(at), order_id=order_id, venue=f"binance.{market_type}", symbol="KITEUSDT",
                  market_type=market_type, side=side, quantity=D(quantity), price=D(price), fee=D("0.1"), liquidity="taker")


def order(order_id: str, tag: str = "", reference: float | None = 1.0) -> PaperOrder:
    return PaperOrder(order_id, 0, BUY, D(1), None, False, False, 1, 0, tag, reference)


def test_two_markets_count_together_and_the_first_one_names_entry_and_exit() -> None:
    spot: list[Row] = [(0, 1.0, 1, BUYS), (100, 2.0, 1, BUYS)]
    futures: list[Row] = [(0, 1.5, 1, BUYS), (100, 1.0, 1, BUYS)]
    found = outcome_of(tape(spot, futures, end_ms=200), SETTINGS, 0, [
        filled("sell", 10, "1.5", 10, "o2", "futures"), filled("buy", 20, "1", 10, "o1"), filled("sell", 90, "1.2", 10, "o3")],
        [], {"o1": order("o1"), "o2": order("o2", reference=1.6), "o3": order("o3", "time")})
    assert (found.entry_price, found.slippage_bp, found.exit_price, found.exit_reason) == (D("1.5"), D(625), D(1), "end_of_tape")
    assert (found.pnl, found.fees) == (15 - 10 + 12 - 10 - D("0.3"), D("0.3"))


def test_without_a_fill_there_is_nothing_but_the_rejections_by_time() -> None:
    late, early = (RejectedOrder(at, "v", "s", "buy", "1", "no", f"o{at}") for at in (9, 3))
    found = outcome_of(tape([]), SETTINGS, 7, [Action(kind="rejected", at=5, order_id="o5", reason="why")], [late, early], {})
    assert [row.at for row in found.rejected] == [3, 5, 9]
    assert (found.exit_reason, found.entry_at, found.pnl, found.delay_ms) == ("none", None, D(0), 7)


def test_a_liquidation_is_the_reason_and_a_strategy_s_own_order_is_one() -> None:
    rows: list[Row] = [(0, 1.0, 1, BUYS)]
    for kind, reason in (("liquidated", "liquidated"), ("filled", "strategy")):
        log = [filled("buy", 10, "1", 10, "o1", "futures"), filled("sell", 90, "0.5", 10, "o2", "futures", kind)]
        found = outcome_of(tape([], rows), SETTINGS, 0, log, [], {"o1": order("o1", reference=None), "o2": order("o2")})
        assert (found.exit_reason, found.slippage_bp, found.worst_drawdown) == (reason, None, D("5.2"))


def test_the_curve_has_a_bounded_number_of_points_with_both_ends() -> None:
    rows: list[Row] = [(at, 1 + at / 10_000, 1, BUYS) for at in range(10_000)]
    found = outcome_of(tape(rows), SETTINGS, 0, [filled("buy", 5, "1", 10, "o1")], [], {"o1": order("o1")})
    assert len(found.equity) == EQUITY_POINTS
    assert (found.equity[0][0], found.equity[-1]) == (ms(5), (ms(9999), D("309.899")))
