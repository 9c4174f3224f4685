"""Generate the OpenAPI description from the routes and their types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pumpwatch import __version__
from pumpwatch.api.credentials import COOKIE
from pumpwatch.api.route import JSON, PROBLEM, Answer, ApiCall, ProblemBody, Route, title_of

OF_ALL = (400, 401, 403, 408, 413, 414, 421, 429, 431, 500, 501, 503)  # the server may send these before a handler runs
SEGMENT = "^[0-9A-Za-z][0-9A-Za-z:._-]*$"  # a path segment; names of archive files may also have slashes
REFS = "#/components/schemas/{name}"
PATH = "/api/openapi.json"
ABOUT = """The HTTP API of a PumpWatch collector. Most calls only read; calls that change something, such as the drill,
need the token.
Errors are problem details (RFC 9457). Times whose names end in `_ns` are nanoseconds since 1970, UTC."""


RETRY = "Retry-After"
_WHOLE = {"type": "integer", "minimum": 0}
LIMIT_HEADERS: dict[str, Any] = {
    RETRY: {"description": "Seconds until the client may send another request", "schema": _WHOLE},
    "X-RateLimit-Limit": {"description": "Requests allowed within 60 s. Without a limit, these headers are missing",
                          "schema": _WHOLE},
    "X-RateLimit-Remaining": {"description": "Requests that are left now", "schema": _WHOLE},
    "X-RateLimit-Reset": {"description": "Seconds until all requests are available again, without further requests",
                          "schema": _WHOLE}}


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the description of the routes as OpenAPI 3.1."""
    routes = list(routes)
    kinds = [kind for route in routes for kind in (route.answer, route.body) if kind is not None]
    schemas, components = msgspec.json.schema_components([*kinds, ProblemBody], ref_template=REFS)
    of_kind = {str(kind): schema for kind, schema in zip([*kinds, ProblemBody], schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(_plain(route.path), {})[route.method.lower()] = _operation(route, of_kind)
    return {"openapi": "3.1.0",
            "info": {"title": "PumpWatch", "version": __version__, "description": ABOUT.replace("\n", " "),
                     "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
            "paths": dict(sorted(paths.items())),
            "components": {"schemas": dict(sorted(components.items())), "headers": LIMIT_HEADERS,
                           "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE}}}}


def _plain(path: str) -> str:
    return re.sub(r":\w+}", "}", path)


def _operation(route: Route, of_kind: Mapping[str, Any]) -> dict[str, Any]:
    problem = {"content": {PROBLEM: {"schema": of_kind[str(ProblemBody)]}}}
    content: dict[str, Any] = {kind.partition(";")[0]: {} for kind in route.media}
    if route.answer is not None:
        content = {JSON: {"schema": of_kind[str(route.answer)]}}
    codes = sorted({*OF_ALL, *route.errors, *((411, 415, 422) if route.body else ())})
    limits = {name: {"$ref": f"#/components/headers/{name}"} for name in LIMIT_HEADERS if name != RETRY}
    limited = {"headers": {**limits, RETRY: {"$ref": f"#/components/headers/{RETRY}"}}}
    found: dict[str, Any] = {
        "operationId": route.handle.__name__, "summary": route.summary,
        "parameters": [*_in_path(route.path), *_in_query(route.query)],
        "responses": {str(route.status): {"description": title_of(route.status), "headers": limits, "content": content},
                      **{str(code): {"description": title_of(code), **(limited if code == 429 else {}), **problem}
                         for code in codes}}}
    if route.body is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": of_kind[str(route.body)]}}}
    keys: list[dict[str, Any]] = [{"bearer": []}, {"basic": []}, {"session": []}]
    found["security"] = keys if route.token else [{}, *keys]
    return found


def _in_path(path: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": SEGMENT}}
            for name in re.findall(r"{(\w+)", path)]


def _in_query(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([query], ref_template="{name}")
    schema = components[query.__name__]
    return [{"name": name, "in": "query", "required": name in schema.get("required", []), "schema": part}
            for name, part in schema["properties"].items()]


def openapi_json(routes: Iterable[Route]) -> bytes:
    """Return the description as JSON, indented by two spaces."""
    return msgspec.json.format(msgspec.json.encode(describe(routes)), indent=2) + b"\n"


def route_of(routes: Iterable[Route]) -> Route:
    """Return a route that serves the description of the given routes and of itself."""
    made: list[bytes] = []

    def openapi(call: ApiCall) -> Answer:
        return Answer(made[0], JSON)

    own = Route(PATH, openapi, "This description")
    made.append(openapi_json([*routes, own]))
    return own
