"""The routes as a WSGI application: falcon finds the route, and this module converts queries, bodies and answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import falcon
import msgspec

from pumpwatch.api.complaints import complaint
from pumpwatch.api.desk import Desk
from pumpwatch.api.guard import Guard
from pumpwatch.api.pages import Page
from pumpwatch.api.route import JSON, PROBLEM, Answer, ApiCall, Problem, Route, problem_json
from pumpwatch.errors import PumpWatchError, ServiceUnavailable, StorageError, UsageError
from pumpwatch.printable import printable

log = logging.getLogger(__name__)

# The page loads everything from this server, has nothing inline, and cannot be framed.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
          "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin", "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

LIMIT_HEADERS = "pumpwatch.limit_headers"  # key of the WSGI environment: the server puts the rate limit headers there
Responder = Callable[..., None]


class Application(falcon.App[falcon.Request, falcon.Response]):
    """The WSGI application of one collector."""

    def __init__(self, desk: Desk, routes: Iterable[Route], pages: Mapping[str, Page], guard: Guard) -> None:
        super().__init__(middleware=[_Headers(), guard])
        self.req_options.strip_url_path_trailing_slash = False
        self.add_error_handler(Problem, _send_problem)
        self.add_error_handler(UsageError, _send_usage_error)
        self.add_error_handler(StorageError, _send_unavailable)
        self.add_error_handler(ServiceUnavailable, _send_unavailable)
        self.add_error_handler(Exception, partial(_send_failure, desk))
        self.set_error_serializer(_serialize)
        for path, responders in _resources(desk, routes, pages).items():
            methods = {name: staticmethod(responder) for name, responder in responders.items()}
            self.add_route(path, type("Resource", (), methods)())


def _resources(desk: Desk, routes: Iterable[Route], pages: Mapping[str, Page]) -> dict[str, dict[str, Responder]]:
    found: dict[str, dict[str, Responder]] = {path: dict.fromkeys(("on_get", "on_head"), partial(_send_page, page))
                                              for path, page in pages.items()}
    for route in routes:
        responders = found.setdefault(route.path, {})
        responders[f"on_{route.method.lower()}"] = partial(_respond, desk, route)
        if route.method == "GET" and route.answer is not None:
            responders["on_head"] = partial(_respond, desk, route)
    return found


class _Headers:
    """Adds the headers that every answer has."""

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        for name, value in (*HEADERS.items(), ("Cache-Control", "no-store"), *req.env.get(LIMIT_HEADERS, {}).items()):
            if resp.get_header(name) is None:
                resp.set_header(name, value)


def _send_page(page: Page, req: falcon.Request, resp: falcon.Response) -> None:
    resp.etag = page.etag
    resp.set_header("Cache-Control", "no-cache")
    resp.set_header("Vary", "Accept-Encoding")
    if page.etag in (req.get_header("If-None-Match") or ""):
        resp.status = falcon.HTTP_304
        return
    resp.content_type = page.content_type
    if page.gzipped and "gzip" in (req.get_header("Accept-Encoding") or ""):
        resp.set_header("Content-Encoding", "gzip")
        resp.data = page.gzipped
    else:
        resp.data = page.content


def _respond(desk: Desk, route: Route, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
    """Answer one request with its route."""
    call = ApiCall(desk, path, _query_of(route, req), _body_of(route, req),
                {name.lower(): value for name, value in req.headers.items()})
    answer = route.handle(call)
    if isinstance(answer, Answer):
        resp.status = falcon.code_to_http_status(answer.status)
        if answer.content_type:
            resp.content_type = answer.content_type
        for name, value in answer.headers.items():
            resp.append_header(name, value)  # falcon's other methods reject Set-Cookie
        if isinstance(answer.body, bytes):
            resp.data = answer.body
        else:
            resp.stream = answer.body
        return
    resp.content_type, resp.status = JSON, falcon.code_to_http_status(route.status)
    resp.data = msgspec.json.encode(answer)


def _query_of(route: Route, req: falcon.Request) -> Any:
    try:
        return msgspec.convert(req.params, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, complaint(route.query, error, "parameter")) from error


def _body_of(route: Route, req: falcon.Request) -> Any:
    if route.body is None:
        return None
    if (req.content_type or "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, f"the body must be {JSON}")
    try:
        return msgspec.json.decode(req.bounded_stream.read(), type=route.body)
    except msgspec.ValidationError as error:
        raise Problem(400, complaint(route.body, error, "field")) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, "the body is not JSON") from error


def _send_problem(req: falcon.Request, resp: falcon.Response, problem: Problem, params: object) -> None:
    resp.status, resp.content_type = falcon.code_to_http_status(problem.status), PROBLEM
    resp.set_headers(problem.headers)
    resp.data = problem_json(problem.status, problem.detail)


def _send_usage_error(req: falcon.Request, resp: falcon.Response, error: UsageError, params: object) -> None:
    _send_problem(req, resp, Problem(422, printable(error.message)), params)


def _send_unavailable(req: falcon.Request, resp: falcon.Response, error: PumpWatchError, params: object) -> None:
    _send_problem(req, resp, Problem(503, printable(error.message), {"Retry-After": "5"}), params)


def _send_failure(desk: Desk, req: falcon.Request, resp: falcon.Response, error: Exception, params: object) -> None:
    """Answer an HTTP error of falcon as it is, anything else with 500, and log the reason: it is a bug."""
    if isinstance(error, falcon.HTTPError):
        resp.status = error.status
        resp.set_headers(error.headers or {})
        _serialize(req, resp, error)
        return
    desk.stats.add("api_failures_total")
    log.error("a request failed path=%s reason=%s: %s", printable(req.path), type(error).__name__, error, exc_info=error)
    _send_problem(req, resp, Problem(500, "the request failed; the collector's log has the reason"), params)


def _serialize(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    status = error.status_code
    detail = {404: "this path does not exist", 405: "this path rejects this method"}.get(status) or error.description or ""
    resp.content_type = PROBLEM
    resp.data = problem_json(status, detail)
