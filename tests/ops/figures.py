"""Figures of a collector with two venues, a sink, a channel and two sources, as `Status.now` has them."""

from __future__ import annotations

from typing import Any


def venue(exchange: str, market_type: str = "spot", **other: Any) -> dict[str, Any]:
    """Return a row of `venues`."""
    return {"exchange": exchange, "market_type": market_type, "connections": 2, "connections_up": 2, "instruments": 10,
            "subscribed": 10, "refused": [], "silent": ["A"], "list_problem": "", "down_s": 0.0, "trades_total": 100,
            "lag_ms": 12.5, "silent_s": 0.4, "gaps_open": 1, "gaps_filled": 2, "gaps_lost": 3, **other}


def figures(**other: Any) -> dict[str, Any]:
    """Return the figures, with some sections replaced."""
    return {
        "version": "0.1.0", "started_at_ns": 1_795_000_000_500_000_000, "cpu_s": 3.5,
        "venues": [venue("a"), venue("b", "futures")],
        "memory": {"rss_bytes": 1000, "limit_bytes": 4000, "used_ratio": 0.25}, "files": {"open": 9, "limit": 100},
        "disk": {"total_bytes": 10, "free_bytes": 5, "used_share": 0.5}, "clock_offset_s": None,
        "journal": {"backlog_trades": 7, "bytes": 11, "commits": 3, "durable_trades": 190, "dropped_trades": 0,
                    "durable_ms_p50": 60, "durable_ms_p99": 250, "oldest_waiting_s": 0.05},
        "sinks": [{"name": "questdb", "state": "up", "backlog_trades": 4, "calls": [
            {"operation": "write", "total": 9, "failed": 1, "running": 1, "seconds": 0.9, "p50_ms": 80.0, "p99_ms": 300.0,
             "errors": {"ServiceUnavailable": 1}}]}], "recent": {"trades": 200, "bytes": 9000},
        "backfill": {"looked": True, "left": 2, "left_s": 30.0},
        "listing": {"upbit": {"up": True}, "bithumb": {"up": None}, "windows": {"open": 1, "not_final": 2}},
        "notify": [{"name": "phone", "up": False, "sent": 1, "failed": 2, "given_up": 0, "waiting": 1}],
        "jobs": [{"name": "retention", "runs": 4, "errors": 1, "skipped": 0, "took_s": None, "overdue_s": 0.0}],
        "queries": {"total": 2, "failed": 1, "slow": 0, "seconds": 0.5, "mean_ms": 250.0, "p99_ms": 400, "memory_ratio": 0.5},
        "active_alerts": [{"severity": "critical"}],
        "counters": [{"name": "frames_total", "value": 50.0, "venue": "a.spot"}, {"name": "clock_steps_total", "value": 1.0},
                     {"name": "restarts_total", "value": 2.0, "part": "x"}, {"name": "restarts_total", "value": 1.0, "part": "y"},
                     {"name": "gaps_total", "value": 5.0, "venue": "a.spot", "state": "open"},
                     {"name": "last_commit_ns", "value": 2e18},
                     {"name": "api_limit_checks_total", "value": 3.0, "outcome": "redis"},
                     {"name": "api_limited_total", "value": 1.0, "kind": "address"},
                     {"name": "api_session_events_total", "value": 1.0, "outcome": "hit"},
                     {"name": "api_sessions", "value": 1.0},
                     {"name": "shared_budget_requests_total", "value": 4.0, "venue": "a.spot", "outcome": "slice"},
                     {"name": "shared_budget_members", "value": 2.0},
                     {"name": "listing_polls_total", "value": 8.0, "source": "upbit", "outcome": "read"},
                     {"name": "listing_notices_total", "value": 3.0, "source": "upbit", "kind": "event"},
                     {"name": "listing_notices_total", "value": 2.0, "source": "upbit", "kind": "other"}], **other}
