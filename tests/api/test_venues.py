"""The venues and their connections."""

from __future__ import annotations

import falcon.testing
import pytest


def test_venues_are_listed(client: falcon.testing.TestClient) -> None:
    (row,) = client.simulate_get("/api/venues").json["venues"]
    assert (row["exchange"], row["market_type"], row["trades_per_s"]) == ("binance", "spot", 10.0)


def test_the_connections_of_a_venue_are_listed(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_get("/api/venues/binance.spot/connections").json
    assert answer["exchange"] == "binance" and answer["connections"][0]["age_s"] == 1.5


@pytest.mark.parametrize("venue", ["kraken.spot", "binance", "binance.spot.x", "*"])
def test_a_venue_that_is_not_collected_is_not_found(client: falcon.testing.TestClient, venue: str) -> None:
    assert client.simulate_get(f"/api/venues/{venue}/connections").status_code == 404
