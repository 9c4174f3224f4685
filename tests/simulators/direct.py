"""A dialect without the server around it: one client's session, messages and REST requests, answered at once."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from pumpwatch import ClientSession, Coin, Dialect, HttpCall, HttpReply, Past, Reply
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.market import SimulatedMarket, coins
from pumpwatch.sim.rows import SymbolTable

NS_PER_S = 1_000_000_000


class SpentBudget:
    """A REST budget of which so much was used before the next request."""

    def __init__(self, used: float) -> None:
        self.used = used

    def spend(self, weight: float) -> float:
        self.used += weight
        return self.used

    def retry_after_s(self) -> int:
        return 7


class Client:
    """One client of a venue that has traded for a second, or for `seconds`."""

    def __init__(self, dialect: Dialect, *, listed: Sequence[Coin] | int = 8, trades: int = 300, seconds: int = 1) -> None:
        self.dialect, self.now_ns = dialect, time.time_ns()
        self.table = SymbolTable(dialect.symbols(coins(listed) if isinstance(listed, int) else listed))
        self.history = TradeHistory(self.table, trades)
        market = SimulatedMarket(self.table, [1, 1], first_id=dialect.first_id, unit_ns=dialect.timestamp_unit_ns,
                                 flag_shares=dialect.flag_shares)
        self.history.add(market.next_trades(trades, self.now_ns - seconds * NS_PER_S, self.now_ns))
        self.memory: dict[str, Any] = {}
        self.session = ClientSession(dialect.ws_path, {}, {}, memory=self.memory)

    def open(self) -> Reply | HttpReply:
        """Connect."""
        return self.dialect.open(self.session, self.dialect.rules)

    def say(self, message: Any) -> list[Any]:
        """Send a message (text, or plain data as JSON); return the frames that answer it, decoded."""
        text = message if isinstance(message, str) else json.dumps(message)
        reply = self.dialect.receive(self.session, text, self.dialect.rules, self.history)
        return [json.loads(frame.message if isinstance(frame, Past) else frame) for frame in reply.send]

    def get(self, path: str, used: float = 0.0, **query: str) -> HttpReply:
        """Make a REST request after so much of the budget was used."""
        call = HttpCall("GET", self.dialect.rest_path + path, query, {}, b"", self.now_ns, self.memory)
        return self.dialect.rest(call, self.dialect.rules, self.history, SpentBudget(used))
