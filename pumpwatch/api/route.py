"""A route: its path, its types and its handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from pumpwatch.api.desk import Desk
from pumpwatch.errors import PumpWatchError

JSON = "application/json"


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The query of a route without parameters."""


class Problem(PumpWatchError):
    """The request is answered with an error, as problem details (RFC 9457)."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a JSON struct: bytes, or an iterator of pieces, which is always closed.

    content_type: empty if the status, such as 204, has no body.
    """

    body: bytes | Iterator[bytes]
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request: its path values, its query and body as structs of the route, and its headers by lower-case name."""

    desk: Desk
    path: Mapping[str, str]
    query: Any
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    path: with `{name}` for a value of one segment, and `{name:path}` for the rest of the path. answer: the struct of the JSON
    answer, also if the handler encodes it itself; None if it returns an `Answer` with a content type of `media`. body: the struct
    of a JSON body. errors: status codes besides those of every route. token: the caller needs the token even on this machine.
    """

    path: str
    handle: Callable[[ApiCall], Any]
    summary: str
    answer: Any = None
    query: type[msgspec.Struct] = NoQuery
    body: type[msgspec.Struct] | None = None
    method: str = "GET"
    media: tuple[str, ...] = (JSON,)
    errors: tuple[int, ...] = ()
    status: int = 200
    token: bool = False


class ProblemBody(msgspec.Struct):
    """Problem details. `type` is always about:blank; `detail` is for a person."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def problem_json(status: int, detail: str) -> bytes:
    """Return the body of an error."""
    return msgspec.json.encode(ProblemBody(title_of(status), status, detail))


PROBLEM = "application/problem+json"
TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}  # as of RFC 9110


def title_of(status: int) -> str:
    """Return the reason phrase of a status code."""
    return TITLES.get(status) or HTTPStatus(status).phrase
