"""Sends REST requests over kept connections, within a venue's request budget, with one kind of error.

`requests` builds the address, parameters and headers, and http.client speaks HTTP. The connection is ours: one deadline and one
size limit hold from the first byte of an answer's head to the last byte of its body. Cookies are not kept, because a server
could fill the memory with them.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urljoin, urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.allowance import HEAD_BYTES, Overdue, ReadAllowance, TooMuch
from pumpwatch.net.bodies import ACCEPTED, read_body
from pumpwatch.net.dial import Destination, Resolve, StreamDialer, look_up, reason
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.redirects import MOST_REDIRECTS, MayReach, Origin, anywhere, may_reach, origin_of, redirect_problem
from pumpwatch.net.retry_after import retry_after_s
from pumpwatch.net.server_clock import ServerClocks
from pumpwatch.net.stream import Stream
from pumpwatch.net.texts import masked, one_line, shown_url
from pumpwatch.net.tunnel import authorization
from pumpwatch.venue import HttpRequest

LARGEST_BODY_BYTES = 33_554_432  # twice the largest list of a venue
LEAST_PAUSE_S = {418: 60.0, 429: 5.0}  # if the answer does not say for how long
PATIENCE = 6  # an answer may take this many timeouts in all; a dripping body would never end
REDIRECTS = (301, 302, 303, 307, 308)
KEPT = 32  # idle connections
FOR_EVERY_HOST = {"user-agent", "accept", "accept-encoding", "accept-language", "if-none-match"}
DEFAULTS = {"User-Agent": requests.utils.default_user_agent(), "Accept": "*/*", "Accept-Encoding": ACCEPTED}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status, headers (case-insensitive), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Sends requests over kept connections; only the calling greenlet waits (when gevent has patched the sockets).

    timeout_s: for a connection with its TLS handshake, and for each wait for the next bytes. An answer with all its redirects
    may take PATIENCE times as long. Raises ConfigError for an invalid proxy.
    """

    def __init__(self, context: ssl.SSLContext, timeout_s: float, proxy: str = "",
                 largest_bytes: int = LARGEST_BODY_BYTES, resolve: Resolve = look_up) -> None:
        self._kept: list[_KeptConnection] = []  # the most recently used one is the last
        self._dialer = StreamDialer(context, proxy, resolve)
        self._timeout_s, self._longest_s, self._largest_bytes = timeout_s, PATIENCE * timeout_s, largest_bytes
        self._clock = Clock()
        self.clocks = ServerClocks()

    def __del__(self) -> None:
        """Close the idle connections, so that the owner of this object does not have to."""
        while self._kept:
            self._kept.pop().close()

    def fetch(self, url: str, headers: Mapping[str, str] | None = None, params: Mapping[str, str | int] | None = None,
              method: str = "GET") -> Response:
        """Return the server's answer, whatever its status; redirects of a GET follow the rules of net/redirects.py.

        Raises ServiceUnavailable if no answer comes, if it takes too long or is too large (a body of 40 MB is not a list, and
        would block the hub while it is read), and if a redirect may not be followed.
        """
        try:
            request = _prepared(method, url, {**DEFAULTS, **(headers or {})}, params)
        except (requests.RequestException, ValueError):  # its text shows the whole address
            raise ServiceUnavailable(f"{shown_url(url)}: not an address", "write https://HOST/PATH") from None
        allowance = ReadAllowance(self._longest_s, self._timeout_s)
        reachable: MayReach = anywhere
        location: str | None = ""
        for _ in range(MOST_REDIRECTS + 1):
            answer, peer = self._answer(request, allowance, reachable, url)
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not location or method != "GET":
                return answer
            request, reachable = self._redirected(request, location, url, peer)
        raise ServiceUnavailable(f"{masked(url)}: more than {MOST_REDIRECTS} redirects, the last to {one_line(location or '')}")

    def _redirected(self, request: requests.PreparedRequest, location: str, url: str,
                    peer: str) -> tuple[requests.PreparedRequest, MayReach]:
        """Return the request for a redirect's target, and the addresses that it may go to."""
        problem = "not an address"
        with contextlib.suppress(requests.RequestException, ValueError):
            target = urljoin(cast("str", request.url), location)
            same = origin_of(target) == origin_of(cast("str", request.url))
            headers = {name: value for name, value in request.headers.items() if same or name.lower() in FOR_EVERY_HOST}
            problem = redirect_problem(url, target)
            if not problem:
                redirected = _prepared("GET", target, headers, None)
                problem = redirect_problem(url, cast("str", redirected.url))  # as it will be requested
                if not problem:
                    return redirected, may_reach(url, cast("str", redirected.url), peer)
        raise ServiceUnavailable(f"{masked(url)}: its redirect to {one_line(location)} is not followed: {problem}")

    def _answer(self, request: requests.PreparedRequest, allowance: ReadAllowance, reachable: MayReach,
                url: str) -> tuple[Response, str]:
        """Return the answer to one request, and the IP address that it came from."""
        try:
            secure, host, port = origin_of(cast("str", request.url))
            destination = Destination(secure, host, port, reachable)
            line = self._kept_line(destination)
            if line is not None:
                try:
                    return self._exchange(line, destination, request, allowance), line.peer
                except ConnectionError:  # the other side closed it just now, so it did not read the request
                    if request.method != "GET":
                        raise
            stream, peer = self._dialer.open(destination, ReadAllowance(allowance.left_s()), absolute=True)
            line = _KeptConnection(stream, peer, (destination.secure, destination.host, destination.port))
            return self._exchange(line, destination, request, allowance), line.peer
        except (Overdue, TooMuch) as error:
            raise ServiceUnavailable(f"{masked(url)}: {error}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServiceUnavailable(f"{masked(url)}: no answer: {one_line(reason(error), 300)}") from error

    def _kept_line(self, destination: Destination) -> _KeptConnection | None:
        """Return an idle connection to an allowed address of this destination, or None."""
        origin = (destination.secure, destination.host, destination.port)
        for line in reversed([line for line in self._kept if line.origin == origin]):
            self._kept.remove(line)
            if (not line.peer or destination.may_reach(line.peer)) and line.stream.idle():
                return line
            line.close()
        return None

    def _exchange(self, line: _KeptConnection, destination: Destination, request: requests.PreparedRequest,
                  allowance: ReadAllowance) -> Response:
        """Send one request, read its answer, and keep the connection if both sides can use it again."""
        keep, asked_at_ns = False, self._clock.now_ns()
        try:
            line.stream.allowance = allowance
            allowance.begin("its answer", HEAD_BYTES)
            target, headers = request.path_url, dict(request.headers)
            proxy = self._dialer.proxy_for(destination)
            if proxy is not None and proxy.scheme == "http" and not destination.secure:
                target, headers = _absolute(cast("str", request.url)), headers | authorization(proxy)
            sender = http.client.HTTPConnection(destination.host, destination.port)
            sender.sock = line
            sender.request(cast("str", request.method), target, cast("bytes | None", request.body),
                           {"Host": _host_header(destination), **headers})
            answer = http.client.HTTPResponse(line, method=request.method)  # type: ignore[arg-type]
            answer.begin()
            self.clocks.record(destination.host, CaseInsensitiveDict(answer.headers.items()), asked_at_ns, self._clock.now_ns())
            body = read_body(answer, allowance, self._largest_bytes)
            keep = not answer.will_close
            return Response(answer.status, CaseInsensitiveDict(answer.headers.items()), body)
        finally:
            if keep:
                self._kept.append(line)
            else:
                line.close()
            if len(self._kept) > KEPT:
                self._kept.pop(0).close()

    def ask(self, base_url: str, request: HttpRequest, headers: Mapping[str, str], budget: TokenBucket) -> bytes:
        """Send a venue's request within its budget and return the body of a 200.

        Raises ServiceUnavailable for any other answer. A 429 or 418 also blocks the budget for as long as the answer asks.
        """
        budget.acquire(request.weight)
        answer = self.fetch(base_url.rstrip("/") + request.path, headers, request.params, request.method)
        if answer.status == 200:
            return answer.body
        if answer.status in LEAST_PAUSE_S:
            asked_s = retry_after_s(answer.status, answer.headers.get("Retry-After", ""), self._clock.now_ns())
            budget.pause(max(asked_s, LEAST_PAUSE_S[answer.status]))
        raise ServiceUnavailable(f"{masked(base_url)}{request.path}: HTTP {answer.status}: {one_line(answer.body)}")


class _KeptConnection:
    """A stream with the methods of a socket that http.client uses."""

    def __init__(self, stream: Stream, peer: str, origin: Origin) -> None:
        self.stream, self.peer, self.origin = stream, peer, origin

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Bytes(self.stream))

    def sendall(self, data: bytes) -> None:
        self.stream.send(data)

    def close(self) -> None:
        self.stream.close()


class _Bytes(io.RawIOBase):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        data = self._stream.recv(len(target))
        target[: len(data)] = data
        return len(data)


def _prepared(method: str, url: str, headers: Mapping[str, str],
              params: Mapping[str, str | int] | None) -> requests.PreparedRequest:
    request = requests.Request(method, url, headers=dict(headers), params=params).prepare()
    origin_of(cast("str", request.url))
    return request


def _absolute(url: str) -> str:
    """Return a URL in the form for a proxy: without user, password and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _host_header(destination: Destination) -> str:
    host = f"[{destination.host}]" if ":" in destination.host else destination.host
    return host if destination.port == (443 if destination.secure else 80) else f"{host}:{destination.port}"
