"""The API has every store with its health and its calls; the page gets little of it."""

from __future__ import annotations

import dataclasses

from pumpwatch.api.desk import Desk
from pumpwatch.api.stores import rows_of, small
from pumpwatch.ops.stores import StoreRow
from pumpwatch.sink_abilities import ServerFacts
from tests.api.desk import FIGURES, client_of

CALL = {"operation": "read", "total": 3, "failed": 1, "running": 0, "seconds": 0.1, "p50_ms": 1.0, "p99_ms": 2.0,
        "errors": {"ServiceUnavailable": 1}}
SEEN = {**FIGURES, "sinks": [{"name": "server", "state": "up", "backlog_trades": 0, "calls": [CALL]}],
        "stores": [StoreRow("journal", "up", ServerFacts("SQLite", 5, 1)).figures(),
                   StoreRow("server", "down: " + "x" * 500, ServerFacts("Server 1", 10, 2, 3.5, 0.99, 4, 1), (), 7).figures()]}


def test_stores_are_there_with_the_calls_of_their_sinks(desk: Desk) -> None:
    assert client_of(dataclasses.replace(desk, figures=dict)).simulate_get("/api/stores").json == {"stores": []}
    journal, server = client_of(dataclasses.replace(desk, figures=lambda: SEEN)).simulate_get("/api/stores").json["stores"]
    assert (journal["store"], journal["works"], journal["calls"], journal["connections"]) == ("journal", True, [], None)
    assert (server["works"], server["failed_in_a_row"], server["calls"]) == (False, 7, [CALL])


def test_the_page_gets_a_short_state_and_the_slowest_method() -> None:
    shown = [small(row) for row in rows_of(SEEN)]
    assert [row["p99_ms"] for row in shown] == [None, 2.0] and len(shown[1]["state"]) == 160
