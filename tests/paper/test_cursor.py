"""A cursor stops at the trades that can matter."""

from __future__ import annotations

from pumpwatch.paper.cursor import ANYWHERE, NEVER, NOWHERE, ROWS, Cursor
from tests.paper.tapes import BUYS, Row, ms, tape

MANY: list[Row] = [*((at, 1.0, 1, BUYS) for at in range(2 * ROWS)), (2 * ROWS + 5, 0.5, 3, BUYS), (2 * ROWS + 6, 2.0, 4, BUYS)]


def test_trades_between_the_edges_are_passed_over() -> None:
    cursor = Cursor(0, tape(MANY).of(0))
    cursor.seek(ms(10), 0.5, 2.0)
    assert cursor.row() == (ms(2 * ROWS + 5), 0.5, 3.0, BUYS)
    cursor.forward(0.5, 2.0)
    assert cursor.row() == (ms(2 * ROWS + 6), 2.0, 4.0, BUYS)
    cursor.forward(0.5, 2.0)
    assert cursor.next_at == NEVER


def test_every_trade_is_one_for_an_order_that_takes_and_none_where_nothing_waits() -> None:
    cursor = Cursor(0, tape(MANY).of(0))
    cursor.seek(ms(10), ANYWHERE, NOWHERE)
    assert cursor.next_at == ms(11)
    cursor.seek(ms(10), NOWHERE, ANYWHERE)
    assert cursor.next_at == NEVER
