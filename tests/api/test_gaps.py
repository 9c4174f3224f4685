"""The gaps, a page at a time."""

from __future__ import annotations

from pathlib import Path

import falcon.testing
import pytest

from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.store.ledger import Ledger


def store_gaps(folder: Path, count: int) -> None:
    ledger = Ledger(folder)
    ledger.write(Records(gaps=[
        Gap(exchange="binance" if number % 2 else "okx", market_type="spot", from_ns=number * 10, to_ns=number * 10 + 5,
            reason="r", symbols=tuple(f"S{index}" for index in range(30)), state=GapState.OPEN if number % 3 else GapState.LOST)
        for number in range(1, count + 1)]))
    ledger.close()


def test_without_a_ledger_nothing_is_missing(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/api/gaps").json == {"gaps": [], "next": None}


def test_all_gaps_come_once_the_newest_first(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    store_gaps(tmp_path, 25)
    found, query = [], {"limit": "10"}
    while True:
        page = client.simulate_get("/api/gaps", params=query).json
        found += page["gaps"]
        if page["next"] is None:
            break
        query["before"] = str(page["next"])
    assert [row["from_ns"] for row in found] == [number * 10 for number in range(25, 0, -1)]
    assert found[0]["symbol_count"] == 30 and len(found[0]["symbols"]) == 20


def test_gaps_are_chosen_by_state_and_exchange(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    store_gaps(tmp_path, 12)
    lost = client.simulate_get("/api/gaps", params={"state": "lost"}).json["gaps"]
    assert [row["from_ns"] for row in lost] == [120, 90, 60, 30]
    both = client.simulate_get("/api/gaps", params={"state": "lost", "exchange": "okx"}).json["gaps"]
    assert [row["from_ns"] for row in both] == [120, 60]
    assert client.simulate_get("/api/gaps", params={"exchange": "x' OR 1=1 --"}).json["gaps"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=0", "state=gone", "limit=1&limit=2", "x=1",
                                   "before=99999999999999999999"])
def test_an_invalid_query_is_refused(client: falcon.testing.TestClient, query: str) -> None:
    assert client.simulate_get("/api/gaps", query_string=query).status_code == 400
