"""Signing in and out."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import falcon.testing
import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.api.sessions import Sessions
from tests.api.desk import TOKEN, client_of, config_of, desk_of

HOLDER = {"Authorization": f"Bearer {TOKEN}"}
OWN = {"Origin": "http://127.0.0.1:8321"}


def signed_in(client: falcon.testing.TestClient, **headers: str) -> str:
    answer = client.simulate_post("/api/session", headers={**HOLDER, **headers})
    assert answer.status_code == 201 and answer.json == {"by": "session", "lasts_s": 86400}
    found = re.fullmatch(r"(pumpwatch_session=[\w-]{43}); Path=/; Max-Age=86400; HttpOnly; SameSite=Strict(; Secure)?",
                         answer.headers["set-cookie"])
    assert found and bool(found[2]) == headers.get("Origin", "").startswith("https")
    return found[1]


def test_the_token_once_begins_a_session_that_stands_for_it(desk: Desk) -> None:
    client = client_of(desk, every_request=True)
    cookie = {"Cookie": signed_in(client)}
    assert client.simulate_get("/api/session", headers=cookie).json["by"] == "session"
    assert client.simulate_get("/api/session", headers=HOLDER).json["by"] == "token"
    assert client.simulate_get("/api/session", headers={**HOLDER, **cookie}).json["by"] == "session"
    assert client.simulate_delete("/api/session", headers={**cookie, **OWN}).status_code == 204
    assert client.simulate_get("/api/session", headers=cookie).status_code == 401


def test_where_reading_needs_nothing_it_says_so(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/api/session").json["by"] == "nothing"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_nobody_signs_in_without_the_token(client: falcon.testing.TestClient, headers: dict[str, str]) -> None:
    answer = client.simulate_post("/api/session", headers=headers)
    assert answer.status_code == 401 and "set-cookie" not in answer.headers


def test_a_session_begins_no_other_one(client: falcon.testing.TestClient) -> None:
    assert client.simulate_post("/api/session", headers={"Cookie": signed_in(client), **OWN}).status_code == 401


def test_another_site_ends_no_session(client: falcon.testing.TestClient) -> None:
    cookie = {"Cookie": signed_in(client)}
    for headers in ({}, {"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.simulate_delete("/api/session", headers={**cookie, **headers}).status_code == 403
    assert client.simulate_get("/api/session", headers=cookie).json["by"] == "session"


def test_signing_out_removes_the_cookie(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_delete("/api/session", headers={"Cookie": signed_in(client), **OWN})
    assert answer.headers["set-cookie"].startswith("pumpwatch_session=; Path=/; Max-Age=0;")


def test_the_cookie_crosses_tls_alone_where_the_browser_speaks_it(tmp_path: Path) -> None:
    client = client_of(desk_of(config_of(tmp_path, hosts=["collector.example.org"])))
    signed_in(client, Host="collector.example.org", Origin="https://collector.example.org")


def test_the_cookie_of_an_address_with_tls_is_secure(tmp_path: Path) -> None:
    desk = desk_of(config_of(tmp_path))
    desk = dataclasses.replace(desk, sessions=Sessions(TOKEN, desk.clock, desk.stats, secure=True))
    assert client_of(desk).simulate_post("/api/session", headers=HOLDER).headers["set-cookie"].endswith("; Secure")


def test_without_a_token_there_are_no_sessions(tmp_path: Path) -> None:
    client = client_of(desk_of(config_of(tmp_path, token="")))
    assert client.simulate_post("/api/session").status_code == 403
    assert client.simulate_get("/api/session", headers={"Cookie": f"pumpwatch_session={'x' * 43}"}).json["by"] == "nothing"
