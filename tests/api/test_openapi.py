"""The OpenAPI file and the routes."""

from __future__ import annotations

import json
from pathlib import Path

import falcon.testing
import msgspec
import pytest

from pumpwatch.api.openapi import describe, openapi_json
from pumpwatch.api.paper import start_paper_run
from pumpwatch.api.route import ProblemBody
from pumpwatch.api.routes import ROUTES
from tests.api.desk import TOKEN

FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "openapi.json"
DESCRIBED = json.loads(FILE.read_text("utf-8"))


def test_the_file_describes_the_routes() -> None:
    assert FILE.read_bytes() == openapi_json(ROUTES), "run packaging/doc_pages.py"


def test_it_is_served(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/api/openapi.json").json == DESCRIBED


def test_every_route_is_described_once() -> None:
    described = {(method.upper(), path) for path, methods in DESCRIBED["paths"].items() for method in methods}
    assert described == {(route.method, route.path.replace(":path", "")) for route in ROUTES}
    assert len(described) == len(ROUTES)
    names = [operation["operationId"] for methods in DESCRIBED["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere() -> None:
    text = FILE.read_text("utf-8")
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in DESCRIBED["components"]["schemas"]


def test_whatever_changes_something_says_that_it_needs_the_token() -> None:
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            assert ({} in operation["security"]) == (method == "get"), path


@pytest.mark.parametrize("route", [route for route in ROUTES if route.answer is not None and "{" not in route.path
                                   and route.handle is not start_paper_run  # which starts a process: test_paper.py
                                   and route.path not in ("/api/ticker", "/api/orderbook")],  # ask venues: test_market.py
                         ids=lambda route: route.path)
def test_an_answer_has_the_type_that_is_described(client: falcon.testing.TestClient, route) -> None:  # type: ignore[no-untyped-def]
    answer = (client.simulate_get(route.path, query_string="coin=C0" if "coin" in route.query.__struct_fields__ else "")
              if route.method == "GET" else
              client.simulate_post(route.path, json={"coin": "C0"}, headers={"Authorization": f"Bearer {TOKEN}"}))
    assert answer.status_code == route.status
    msgspec.json.decode(answer.content, type=route.answer)


def test_a_route_that_breaks_has_the_described_error(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_get("/api/gaps", query_string="limit=0")
    msgspec.json.decode(answer.content, type=ProblemBody)
    assert str(answer.status_code) in DESCRIBED["paths"]["/api/gaps"]["get"]["responses"]


def test_a_description_of_no_routes_is_valid() -> None:
    assert describe([])["paths"] == {}
