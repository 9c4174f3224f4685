"""Who may ask."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import falcon.testing
import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.api.guard import Guard
from pumpwatch.api.sessions import Sessions
from pumpwatch.clock import Clock
from pumpwatch.stats import Stats
from tests.api.desk import TOKEN, client_of, config_of, desk_of

BASIC = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.0.0.1:8321", "localhost:9", "LocalHost", "[::1]:8321", "192.168.1.7:8321", "collector.example.org:443",
    "collector.example.org."])
def test_addresses_localhost_and_the_names_of_the_config_are_known(host: str) -> None:
    assert Guard(frozenset({"collector.example.org"}), Sessions("", Clock(), Stats()), False).knows(host)


@pytest.mark.parametrize("host", [
    "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1:8321:1", "a@127.0.0.1", "[::1", "[evil]",
    "localhost:port", "127.1", "0x7f.1"])
def test_a_name_of_a_stranger_is_refused(host: str, client: falcon.testing.TestClient) -> None:
    assert not Guard(frozenset(), Sessions("", Clock(), Stats()), False).knows(host)
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


OWN = {"Origin": "http://127.0.0.1:8321"}


@pytest.mark.parametrize(("headers", "status"), [
    (OWN, 202), ({"Sec-Fetch-Site": "same-origin"}, 202), ({}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "none"}, 403), ({"Origin": "http://127.0.0.1:9999"}, 403), ({"Origin": "null"}, 403),
    ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403)])
def test_a_session_changes_something_from_our_own_page_alone(desk: Desk, headers: Mapping[str, str], status: int) -> None:
    answer = client_of(desk).simulate_post("/api/listings/drill", json={"coin": "C0"},
                                           headers={"Cookie": f"pumpwatch_session={desk.sessions.begin()}", **headers})
    assert answer.status_code == status


@pytest.mark.parametrize("session", ["", "x" * 43, "../" * 5])
def test_a_made_up_session_lets_nobody_in(desk: Desk, session: str) -> None:
    cookie = {"Cookie": f"pumpwatch_session={session}"}
    client = client_of(desk, every_request=True)
    assert client.simulate_get("/api/health", headers=cookie).status_code == 401
    assert client.simulate_post("/api/listings/drill", json={"coin": "C0"}, headers={**cookie, **OWN}).status_code == 401


def test_a_session_reads_where_others_can_reach_it(desk: Desk) -> None:
    cookie = {"Cookie": f"a=b; pumpwatch_session={desk.sessions.begin()}; c=d"}
    assert client_of(desk, every_request=True).simulate_get("/api/health", headers=cookie).status_code == 200


@pytest.mark.parametrize(("host", "origin", "status"), [
    ("collector.example.org", "https://collector.example.org", 200),
    ("collector.example.org", "http://collector.example.org", 200),
    ("collector.example.org", "https://other.example.org", 403), ("127.0.0.1:8321", "https://127.0.0.1:8321", 403)])
def test_a_balancer_may_end_tls_for_a_name_of_the_config(tmp_path: Path, host: str, origin: str, status: int) -> None:
    desk = desk_of(config_of(tmp_path, hosts=["collector.example.org"]))
    assert client_of(desk).simulate_get("/api/health", headers={"Host": host, "Origin": origin}).status_code == status
