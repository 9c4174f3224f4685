"""Every route of the API."""

from __future__ import annotations

from pumpwatch.api.routes import ROUTES


def test_whatever_is_not_a_reading_needs_the_token() -> None:
    assert [(route.method, route.path) for route in ROUTES if route.token] == [
        ("POST", "/api/listings/drill"), ("POST", "/api/paper/runs"), ("POST", "/api/rollout/{action}"),
        ("POST", "/api/session"), ("DELETE", "/api/session")]
    assert all(route.method == "GET" or route.token for route in ROUTES)


def test_no_path_has_a_method_twice() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
