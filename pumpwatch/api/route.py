"""A route: its address, its types and the function that answers."""

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
    """A route without parameters."""


class Problem(PumpWatchError):
    """Answer with an error, as problem details (RFC 9457)."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a body of its own: bytes, or pieces that are sent as they come. The iterator is closed at the end.

    content_type: empty where the status, such as 204, has no body.
    """

    body: bytes | Iterator[bytes]
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the values in its path, its query and body as the structs of the route, and its headers by lower-case name."""

    desk: Desk
    path: Mapping[str, str]
    query: Any
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    path: with `{name}` for a value of one segment, and `{name:path}` for the rest of the path. answer: the struct that a JSON
    answer is, or the shape of what a handler encodes itself; None where it returns an `Answer` whose kinds `media` names. body:
    the struct of a JSON body. errors: the status codes besides those that every route has. token: the caller needs the token,
    wherever it calls from.
    """

    path: str
    handle: Callable[[Call], Any]
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
    """Problem details. `type` is always about:blank: the status says it all, and `detail` is for a person."""

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
    """Return the words of a status code."""
    return TITLES.get(status) or HTTPStatus(status).phrase
