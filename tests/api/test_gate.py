"""Who may ask."""

from __future__ import annotations

import base64
from pathlib import Path

import falcon.testing
import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.api.gate import Gate
from tests.api.desk import TOKEN, client_of, config_of, desk_of

BASIC = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.0.0.1:8321", "localhost:9", "LocalHost", "[::1]:8321", "192.168.1.7:8321", "collector.example.org:443",
    "collector.example.org."])
def test_addresses_localhost_and_the_names_of_the_config_are_known(host: str) -> None:
    assert Gate(frozenset({"collector.example.org"}), "", False).knows(host)


@pytest.mark.parametrize("host", [
    "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1:8321:1", "a@127.0.0.1", "[::1", "[evil]",
    "localhost:port", "127.1", "0x7f.1"])
def test_a_name_of_a_stranger_is_refused(host: str, client: falcon.testing.TestClient) -> None:
    assert not Gate(frozenset(), "", False).knows(host)
    assert client.simulate_get("/api/health", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(("origin", "status"), [
    ("http://127.0.0.1:8321", 200), ("http://127.0.0.1:8322", 403), ("https://127.0.0.1:8321", 403), ("null", 403),
    ("http://evil.example", 403), ("", 403)])
def test_only_the_page_itself_may_ask_from_a_browser(origin: str, status: int, client: falcon.testing.TestClient) -> None:
    answer = client.simulate_get("/api/health", headers={"Origin": origin})
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("authorization", "status"), [
    ("", 401), ("Bearer", 401), ("Bearer wrong", 401), (f"Bearer {TOKEN}x", 401), (f"Basic {TOKEN}", 401), ("Basic !!", 401),
    (f"Bearer {TOKEN}", 200), (f"bearer  {TOKEN}", 200), (f"Basic {BASIC}", 200)])
def test_where_others_can_reach_it_every_request_needs_the_token(desk: Desk, authorization: str, status: int) -> None:
    answer = client_of(desk, every_request=True).simulate_get("/api/health", headers={"Authorization": authorization})
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(("authorization", "status"), [("", 401), ("Bearer wrong", 401), (f"Bearer {TOKEN}", 202)])
def test_a_change_needs_the_token_wherever_it_comes_from(client: falcon.testing.TestClient, authorization: str,
                                                         status: int) -> None:
    answer = client.simulate_post("/api/listings/drill", json={"coin": "C0"}, headers={"Authorization": authorization})
    assert answer.status_code == status


def test_without_a_token_nobody_changes_anything(tmp_path: Path) -> None:
    desk = desk_of(config_of(tmp_path, token=""))
    for authorization in ("", "Bearer ", "Bearer x"):
        answer = client_of(desk).simulate_post("/api/listings/drill", json={"coin": "C0"},
                                               headers={"Authorization": authorization})
        assert answer.status_code == 403
    assert not (tmp_path / "inbox").exists()
