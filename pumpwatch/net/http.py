"""REST: connections that are kept, the venue's request budget, redirects by hand, one kind of error.

requests writes the address, its parameters and the headers; http.client speaks; the connection is ours, so that an answer has
one time and one size from the first byte of its head to the last of its body. There are no cookies: whoever answers could fill
the memory with them.
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
from pumpwatch.model import HttpRequest
from pumpwatch.net.allowance import HEAD_BYTES, Overdue, ReadAllowance, TooMuch
from pumpwatch.net.bodies import ACCEPTED, read_body
from pumpwatch.net.dial import Dial, Place, Resolve, look_up, reason
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.redirects import MOST_REDIRECTS, MayReach, Origin, anywhere, may_reach, origin_of, refusal
from pumpwatch.net.retry_after import retry_after_s
from pumpwatch.net.stream import Stream
from pumpwatch.net.texts import masked, one_line, shown_url
from pumpwatch.net.tunnel import authorization

LARGEST_BODY_BYTES = 33_554_432  # twice the largest list of a venue
LEAST_PAUSE_S = {418: 60.0, 429: 5.0}  # where the answer does not say for how long
PATIENCE = 6  # an answer may take so many timeouts in all: a body that drips would never end
REDIRECTS = (301, 302, 303, 307, 308)
KEPT = 32  # connections that wait for the next request
FOR_EVERY_HOST = {"user-agent", "accept", "accept-encoding", "accept-language", "if-none-match"}
DEFAULTS = {"User-Agent": requests.utils.default_user_agent(), "Accept": "*/*", "Accept-Encoding": ACCEPTED}


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: status, headers (case-insensitive), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Requests over connections that are kept; waits in its greenlet only (when gevent has patched the sockets).

    `timeout_s` is for a connection with its TLS handshake, and for each wait for the next bytes; `longest_s` for an answer
    with all its redirects. Raises ConfigError for a proxy that cannot be meant.
    """

    def __init__(self, context: ssl.SSLContext, timeout_s: float, proxy: str = "",
                 largest_bytes: int = LARGEST_BODY_BYTES, resolve: Resolve = look_up) -> None:
        self._dial = Dial(context, proxy, resolve)
        self._timeout_s, self._longest_s, self._largest_bytes = timeout_s, PATIENCE * timeout_s, largest_bytes
        self._kept: list[_Line] = []  # the one used last at the end
        self._clock = Clock()

    def fetch(self, url: str, headers: Mapping[str, str] | None = None, params: Mapping[str, str | int] | None = None,
              method: str = "GET") -> Response:
        """Return whatever the server answers; redirects of a GET are followed as net/redirects.py says.

        Raises ServiceUnavailable when nothing does, when it drips for long, when there is no end of it (a body of 40 MB is
        no list of anything, and would hold up the hub while it is read), and where a redirect leads where it may not.
        """
        try:
            asked = _prepared(method, url, {**DEFAULTS, **(headers or {})}, params)
        except (requests.RequestException, ValueError):  # its text shows the whole address
            raise ServiceUnavailable(f"{shown_url(url)}: not an address", "write https://HOST/PATH") from None
        allowance = ReadAllowance(self._longest_s, self._timeout_s)
        reachable: MayReach = anywhere
        location: str | None = ""
        for _ in range(MOST_REDIRECTS + 1):
            answer, peer = self._answer(asked, allowance, reachable, url)
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not location or method != "GET":
                return answer
            asked, reachable = self._redirected(asked, location, url, peer)
        raise ServiceUnavailable(f"{masked(url)}: more than {MOST_REDIRECTS} redirects, the last to {one_line(location or '')}")

    def _redirected(self, asked: requests.PreparedRequest, location: str, url: str,
                    peer: str) -> tuple[requests.PreparedRequest, MayReach]:
        """Return the next request, and the addresses it may go to."""
        problem = "not an address"
        with contextlib.suppress(requests.RequestException, ValueError):
            target = urljoin(cast("str", asked.url), location)
            same = origin_of(target) == origin_of(cast("str", asked.url))
            headers = {name: value for name, value in asked.headers.items() if same or name.lower() in FOR_EVERY_HOST}
            problem = refusal(url, target)
            if not problem:
                led = _prepared("GET", target, headers, None)
                problem = refusal(url, cast("str", led.url))  # as it will be asked for
                if not problem:
                    return led, may_reach(url, cast("str", led.url), peer)
        raise ServiceUnavailable(f"{masked(url)}: its redirect to {one_line(location)} is not followed: {problem}")

    def _answer(self, asked: requests.PreparedRequest, allowance: ReadAllowance, reachable: MayReach,
                url: str) -> tuple[Response, str]:
        """Return the answer to one request and the IP address it came from."""
        try:
            secure, host, port = origin_of(cast("str", asked.url))
            place = Place(secure, host, port, reachable)
            line = self._kept_line(place)
            if line is not None:
                try:
                    return self._exchange(line, place, asked, allowance), line.peer
                except ConnectionError:  # ended just now by the other side, which did not read the request then
                    if asked.method != "GET":
                        raise
            stream, peer = self._dial.open(place, ReadAllowance(allowance.left_s()), absolute=True)
            line = _Line(stream, peer, (place.secure, place.host, place.port))
            return self._exchange(line, place, asked, allowance), line.peer
        except (Overdue, TooMuch) as error:
            raise ServiceUnavailable(f"{masked(url)}: {error}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServiceUnavailable(f"{masked(url)}: no answer: {one_line(reason(error), 300)}") from error

    def _kept_line(self, place: Place) -> _Line | None:
        """Return a connection that is open and leads to where this request may go."""
        for line in reversed([one for one in self._kept if one.origin == (place.secure, place.host, place.port)]):
            self._kept.remove(line)
            if (not line.peer or place.may_reach(line.peer)) and line.stream.quiet():
                return line
            line.close()
        return None

    def _exchange(self, line: _Line, place: Place, asked: requests.PreparedRequest, allowance: ReadAllowance) -> Response:
        """Send one request, read its answer, and keep the connection where both sides may use it again."""
        keep = False
        try:
            line.stream.allowance = allowance
            allowance.begin("its answer", HEAD_BYTES)
            target, headers = asked.path_url, dict(asked.headers)
            proxy = self._dial.proxy_for(place)
            if proxy is not None and proxy.scheme == "http" and not place.secure:
                target, headers = _absolute(cast("str", asked.url)), headers | authorization(proxy)
            sender = http.client.HTTPConnection(place.host, place.port)
            sender.sock = line
            sender.request(cast("str", asked.method), target, cast("bytes | None", asked.body),
                           {"Host": _host_header(place), **headers})
            answer = http.client.HTTPResponse(line, method=asked.method)  # type: ignore[arg-type]
            answer.begin()
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
        """Make a venue's request within its budget and return the body of a 200.

        Raises ServiceUnavailable for any other answer; a 429 or 418 also empties the budget for as long as it asks.
        """
        budget.acquire(request.weight)
        got = self.fetch(base_url.rstrip("/") + request.path, headers, request.params, request.method)
        if got.status == 200:
            return got.body
        if got.status in LEAST_PAUSE_S:
            asked_s = retry_after_s(got.status, got.headers.get("Retry-After", ""), self._clock.now_ns())
            budget.pause(max(asked_s, LEAST_PAUSE_S[got.status]))
        raise ServiceUnavailable(f"{masked(base_url)}{request.path}: HTTP {got.status}: {one_line(got.body)}")


class _Line:
    """A stream as http.client wants a socket."""

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
    asked = requests.Request(method, url, headers=dict(headers), params=params).prepare()
    origin_of(cast("str", asked.url))
    return asked


def _absolute(url: str) -> str:
    """Return a URL as a proxy is asked for it: without user, password and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _host_header(place: Place) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return host if place.port == (443 if place.secure else 80) else f"{host}:{place.port}"
