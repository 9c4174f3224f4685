"""Record a replay in the account ledger: a separate account, with every order, fill, cancellation and liquidation.

A replay is committed in one transaction, under ids derived from the run. So it is in the ledger as a whole or not at all, and
making a run again adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal

from pumpwatch.accounts import AccountLedger, LedgerRefusal, NewOrder, OrderFill
from pumpwatch.paper.account import MAINTENANCE
from pumpwatch.paper.orders import Action

USER = "paper"


def record(ledger: AccountLedger, account_id: str, name: str, cash: Decimal, coin: str, opened_at: int,
           actions: Sequence[Action]) -> bool:
    """Record a replay; return False if it was recorded before. Raises as the ledger does; then nothing was recorded."""

    def work() -> bool:
        if ledger.accounts(account_id):
            return False
        user = ledger.create_user(USER, user_id=USER, at_ns=opened_at)
        ledger.open_account(user, name=name, account_id=account_id, at_ns=opened_at)
        ledger.transfer(account_id, cash, "start of the replay", opened_at)
        for action in actions:
            _apply(ledger, account_id, coin, action)
        return True

    return ledger.retried(work)


def _apply(ledger: AccountLedger, account_id: str, coin: str, action: Action) -> None:
    order_id, at = f"{account_id}/{action.order_id}", action.at
    if action.kind == "placed":
        with suppress(LedgerRefusal):  # the account cannot pay for the order: the next action is its rejection by the venue
            ledger.place_order(account_id, _order(order_id, coin, action))
    elif action.kind == "triggered":
        ledger.trigger_order(order_id, at)
    elif action.kind == "filled":
        ledger.fill_order(order_id, OrderFill(fill_id=f"{account_id}/{action.fill_id}", price=action.price or Decimal(0),
                                              quantity=action.quantity, fee=action.fee, liquidity=action.liquidity, at_ns=at))
    elif action.kind == "rejected":
        with suppress(LedgerRefusal):  # its placement was refused, see above
            ledger.reject_order(order_id, action.reason, at)
    elif action.kind == "cancelled":
        ledger.cancel_order(order_id, action.reason, at)
    elif action.kind == "liquidated":
        ledger.liquidate_position(account_id, action.venue, action.symbol, action.price or Decimal(0), at)
    else:
        ledger.mark_position(account_id, action.venue, action.symbol, action.price or Decimal(0), at)


def _order(order_id: str, coin: str, action: Action) -> NewOrder:
    kind = "market" if action.price is None else "limit" if action.stop is None else "stop_limit"
    return NewOrder(
        order_id=order_id, venue=action.venue, symbol=action.symbol, side=action.side, kind=kind, quantity=action.quantity,
        price=action.price, stop_price=action.stop, at_ns=action.at, reduce_only=action.reduce_only,
        time_in_force="fok" if action.whole else "ioc" if action.immediate else "gtc", leverage=Decimal(action.leverage),
        base=coin, maintenance_rate=MAINTENANCE)
