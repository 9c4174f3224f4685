"""The figures of a collector, as `status.json` has them."""

from __future__ import annotations

from typing import Any

from pumpwatch.clock import NS_PER_S

NOW_NS = 1_700_000_000 * NS_PER_S


def venue(exchange: str, market_type: str, **changes: Any) -> dict[str, Any]:
    return {"exchange": exchange, "market_type": market_type, "connections_up": 12, "connections": 12, "instruments": 1204,
            "subscribed": 1203, "refused": [], "silent": [], "trades_total": 1_234_567_890, "trades_per_s": 5123.4,
            "lag_ms": 61.2, "gaps_open": 1, "quarantined_total": 0, "list_problem": "", **changes}


def figures(**changes: Any) -> dict[str, Any]:
    return {"pid": 4711, "version": "0.1.0", "started_at_ns": NOW_NS - 3_725 * NS_PER_S,
            "venues": [venue(exchange, market_type) for exchange in ("binance", "bybit", "gate", "kucoin", "okx", "phemex")
                       for market_type in ("spot", "futures")],
            "journal": {"backlog_trades": 4321, "bytes": 1_500_000_000, "commits": 99},
            "sinks": [{"name": "questdb", "state": "up", "backlog_trades": 17}],
            "recent": {"trades": 900_000, "bytes": 20_000_000},
            "listing": {"board": {"up": True}, "other": {"up": False, "reason": "HTTP 429 [/]"},
                        "windows": {"open": 2, "not_final": 1}}, **changes}
