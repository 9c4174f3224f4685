"""Queries, bodies and errors of the application."""

from __future__ import annotations

from pathlib import Path

import falcon.testing
import msgspec
import pytest

from pumpwatch.api.application import HEADERS, Application
from pumpwatch.api.desk import Desk
from pumpwatch.api.route import Answer, ApiCall, Problem, ProblemBody, Route
from pumpwatch.errors import ServiceUnavailable, StorageError, UsageError
from tests.api.desk import TOKEN, guard_of


def client_with(desk: Desk, *routes: Route) -> falcon.testing.TestClient:
    return falcon.testing.TestClient(Application(desk, routes, {}, guard_of(desk)), headers={"Host": "localhost"})


def test_every_answer_has_the_headers_that_protect_it(client: falcon.testing.TestClient) -> None:
    for answer in (client.simulate_get("/api/health"), client.simulate_get("/nothing"), client.simulate_get("/"),
                   client.simulate_delete("/api/health"), client.simulate_get("/api/health?a=b")):
        for name, value in HEADERS.items():
            assert answer.headers[name.lower()] == value


@pytest.mark.parametrize(("error", "status"), [
    (Problem(404, "gone"), 404), (UsageError("no such coin"), 422), (StorageError("the disk is full"), 503),
    (ServiceUnavailable("hangs"), 503), (ValueError("a fault of ours"), 500)])
def test_an_error_becomes_problem_details(desk: Desk, error: Exception, status: int, caplog: pytest.LogCaptureFixture) -> None:
    def handler(call: ApiCall) -> None:
        raise error

    answer = client_with(desk, Route("/x", handler, "")).simulate_get("/x")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(answer.content, type=ProblemBody)
    assert problem.status == status and problem.detail and problem.title
    assert ("a fault of ours" in caplog.text) == (status == 500), "only our own faults are logged"
    assert "a fault of ours" not in answer.text


def test_a_stream_is_closed_at_its_end(desk: Desk) -> None:
    closed = []

    def pieces():  # type: ignore[no-untyped-def]
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    answer = client_with(desk, Route("/x", lambda call: Answer(pieces(), "text/plain"), "")).simulate_get("/x")
    assert answer.content == b"onetwo" and closed == [True]


@pytest.mark.parametrize(("body", "content_type", "status"), [
    (b'{"coin": "C0"}', "application/json", 202), (b'{"coin": "C0"}', "text/plain", 415), (b"{", "application/json", 400),
    (b'{"coin": "C0", "x": 1}', "application/json", 400), (b'{"coin": "../etc"}', "application/json", 400),
    (b"[" * 60_000, "application/json", 400), (b"", "application/json", 400)])
def test_a_body_is_read_by_its_type(client: falcon.testing.TestClient, body: bytes, content_type: str, status: int,
                                    tmp_path: Path) -> None:
    answer = client.simulate_post("/api/listings/drill", body=body,
                                  headers={"Content-Type": content_type, "Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == status
    assert len(list(tmp_path.glob("inbox/*.json"))) == (status == 202)


def test_head_is_get_without_a_body(client: falcon.testing.TestClient) -> None:
    for path in ("/api/health", "/"):
        answer = client.simulate_head(path)
        assert answer.status_code == 200 and answer.content == b"" and int(answer.headers["content-length"]) > 0
