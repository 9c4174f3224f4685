"""The account ledger of paper trading: users, accounts, orders, positions, fills, transfers, and the events behind them.

It contains made-up money only: it cannot send an order anywhere.
"""

from __future__ import annotations

from pumpwatch.accounts.ledger import FILE_NAME, AccountLedger, open_account_ledger
from pumpwatch.accounts.records import (
    Account,
    Event,
    HeldPosition,
    NewOrder,
    Order,
    OrderFill,
    Position,
    StoredFill,
    Transfer,
)
from pumpwatch.accounts.refusals import (
    ConflictError,
    DuplicateId,
    InvalidValue,
    LedgerRefusal,
    Overdraft,
    UnknownId,
    WrongState,
)

__all__ = ["FILE_NAME", "Account", "AccountLedger", "ConflictError", "DuplicateId", "Event", "HeldPosition",
           "InvalidValue", "LedgerRefusal", "NewOrder", "Order", "OrderFill", "Overdraft", "Position", "StoredFill",
           "Transfer", "UnknownId", "WrongState", "open_account_ledger"]
