"""REST: one session a host, the venue's request budget, one kind of error."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gevent
import requests
from requests.adapters import HTTPAdapter

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.model import HttpRequest
from pumpwatch.net.ratelimit import TokenBucket

LARGEST_BODY_BYTES = 33_554_432  # twice the largest list of a venue
CHUNK_BYTES = 65_536
PATIENCE = 6  # an answer may take so many timeouts in all: a body that drips would never end


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: status, headers (case-insensitive), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Requests through one session; waits in its greenlet only (when gevent has patched the sockets)."""

    def __init__(self, context: ssl.SSLContext, timeout_s: float, proxy: str = "",
                 largest_bytes: int = LARGEST_BODY_BYTES) -> None:
        self._timeout_s, self._largest_bytes = timeout_s, largest_bytes
        self._session = requests.Session()
        self._session.mount("https://", _Adapter(context))
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}

    def fetch(self, url: str, headers: Mapping[str, str] | None = None, params: Mapping[str, str | int] | None = None,
              method: str = "GET") -> Response:
        """Return whatever the server answers, redirects followed.

        Raises ServiceUnavailable when nothing does, when it drips for long, and when there is no end of it: a body of 40 MB is
        no list of anything, and would hold up the hub while it is read.
        """
        longest_s = PATIENCE * self._timeout_s
        try:
            with gevent.Timeout(longest_s, ServiceUnavailable(f"{url}: its answer takes longer than {longest_s:g} s")), \
                    self._session.request(method, url, params=params, headers=dict(headers or {}), timeout=self._timeout_s,
                                          stream=True) as got:
                return Response(got.status_code, got.headers, self._body(got, url))
        except requests.RequestException as error:
            raise ServiceUnavailable(f"{url}: no answer: {_cause(error)}") from error

    def _body(self, got: requests.Response, url: str) -> bytes:
        body = bytearray()
        for chunk in got.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > self._largest_bytes:
                raise ServiceUnavailable(f"{url}: an answer of more than {self._largest_bytes:,} bytes")
            gevent.sleep(0.0001)  # a line that is fast enough never makes the greenlet wait
        return bytes(body)

    def ask(self, base_url: str, request: HttpRequest, headers: Mapping[str, str], budget: TokenBucket) -> bytes:
        """Make a venue's request within its budget and return the body of a 200.

        Raises ServiceUnavailable for any other answer; a 429 or 418 also empties the budget for as long as it asks.
        """
        budget.take(request.weight)
        got = self.fetch(base_url.rstrip("/") + request.path, headers, request.params, request.method)
        if got.status == 200:
            return got.body
        pause = got.headers.get("Retry-After", "")
        if got.status in (418, 429) and pause.isdigit():
            budget.pause(int(pause))
        raise ServiceUnavailable(f"{base_url}{request.path}: HTTP {got.status}: {_beginning(got.body)}")


class _Adapter(HTTPAdapter):
    """Hands our TLS context to every pool."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)


def _beginning(body: bytes) -> str:
    """Return the first words of a body, on one line."""
    words = " ".join(body[:500].decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:120]


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests wraps urllib3 wraps the system's own error."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
