"""The HTTP server: gevent's, with limits on the size and time of everything that a client sends.

A client can only harm its own connection. A head must arrive within HEAD_S, a body within BODY_S, and a client that reads
nothing for SEND_S is disconnected. Connections beyond the limits are closed immediately; requests beyond the limit of their
client get 429 before their body is read.
"""

from __future__ import annotations

import io
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent import pywsgi, socket

from pumpwatch.api.application import HEADERS, LIMIT_HEADERS
from pumpwatch.api.guard import CALLER
from pumpwatch.api.head import LARGEST_BODY, RequestHead, read_head
from pumpwatch.api.limits import ConnectionLimit, client_of
from pumpwatch.api.rate_limits import Admission, RateLimits
from pumpwatch.api.route import PROBLEM, Problem, problem_json, title_of
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

HEAD_S, BODY_S, SEND_S, HANDSHAKE_S = 10.0, 10.0, 20.0, 5.0
IDLE_S = 75.0  # longest pause between two requests of a connection
LINGER_S, LINGER_BYTES = 2.0, 16 << 20  # a rejected client may finish sending this much, or it would not read the answer
ACCEPTS = 16  # connections that are accepted before other greenlets run


class _TooSlow(BaseException):
    """The client exceeds a time limit. A BaseException, so that no handler of `Exception` catches it."""


def refusal(problem: Problem) -> bytes:
    """Return a complete answer that ends the connection."""
    body = problem_json(problem.status, problem.detail)
    headers = {**HEADERS, **problem.headers, "Content-Type": PROBLEM, "Content-Length": str(len(body)), "Connection": "close",
               "Cache-Control": "no-store"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {problem.status} {title_of(problem.status)}\r\n{lines}\r\n".encode("latin-1") + body


FULL = refusal(Problem(503, "too many connections are open", {"Retry-After": "5"}))


class Handler(pywsgi.WSGIHandler):
    """One connection. It reads heads and bodies by our rules, and leaves the rest of HTTP to gevent."""

    server: Server
    first = True
    admission = Admission()

    def handle_one_request(self) -> Any:
        """Answer one request; return True if another one may follow."""
        try:
            head = self._head()
            if head is None:
                return None
            self._admit(head)
            body = self._body(head)
        except Problem as problem:
            self._refuse(problem)
            return None
        except (_TooSlow, OSError):
            return None
        self.environ = self.get_environ()
        self.environ["wsgi.input"] = io.BytesIO(body)
        if body:
            self.environ["CONTENT_LENGTH"] = str(len(body))
            self.environ.pop("HTTP_TRANSFER_ENCODING", None)
        self.wsgi_input = pywsgi.Input(io.BufferedReader(io.BytesIO()), 0)
        self.application = self.server.application
        self.socket.settimeout(SEND_S)
        self.handle_one_response()
        return None if self.close_connection or self.rfile.closed else True

    def _head(self) -> RequestHead | None:
        """Return the next head within the time limit. Raises Problem, OSError and _TooSlow."""
        if not self.first:
            with gevent.Timeout(IDLE_S, _TooSlow):
                if not self.rfile.peek(1):
                    return None
        self.first = False
        with gevent.Timeout(HEAD_S, _TooSlow):
            return read_head(self.rfile)

    def _admit(self, head: RequestHead) -> None:
        """Count a request, and set the attributes that gevent reads. Raises Problem if the client exceeds its limit."""
        self.command, self.path, self.request_version = head.method, head.target, head.version
        self.requestline = f"{head.method} {head.target} {head.version}"
        self.headers = pywsgi.OldMessage()
        for name, value in head.headers.items():
            self.headers[name] = value
        self.content_length, self.close_connection = head.length or 0, not head.keep_alive
        self.server.stats.add("api_requests_total")
        self.admission = self.server.limits.admit(head.target.partition("?")[0], head.headers, self.client_address[0])

    def _body(self, head: RequestHead) -> bytes:
        """Return the whole body within the time limit. Raises Problem, OSError and _TooSlow."""
        if head.length == 0:
            return b""
        if head.headers.get("expect", "").lower() == "100-continue":
            self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        source = pywsgi.Input(self.rfile, head.length, chunked_input=head.length is None)
        try:
            with gevent.Timeout(BODY_S, _TooSlow):
                body: bytes = source.read(LARGEST_BODY + 1)
        except _TooSlow:
            raise Problem(408, f"the body did not arrive within {BODY_S:g} s") from None
        except OSError:
            raise Problem(400, "the body ends early, or its chunks are not valid") from None
        if len(body) > LARGEST_BODY:
            raise Problem(413, f"a body has at most {LARGEST_BODY} bytes")
        return body

    def _refuse(self, problem: Problem) -> None:
        """Send an error, and let the client finish sending, so that it reads the answer."""
        self.server.stats.add("api_refused_total", status=str(problem.status))
        with suppress(OSError, _TooSlow), gevent.Timeout(LINGER_S, _TooSlow):
            self.socket.sendall(refusal(problem))
            self.socket.shutdown(socket.SHUT_WR)
            left = LINGER_BYTES
            while left > 0 and (piece := self.socket.recv(65_536)):
                left -= len(piece)

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environment. Headers whose names have an underscore are left out."""
        environ: dict[str, Any] = super().get_environ()
        environ[CALLER], environ[LIMIT_HEADERS] = self.admission.caller, self.admission.headers
        return environ

    def log_request(self) -> None:
        """Log nothing, because pages send requests all the time."""

    def _log_error(self, kind: Any, value: Any, traceback: Any) -> None:
        """Count an answer that broke off, because the client disconnected or was too slow."""
        self.close_connection = True
        self.server.stats.add("api_broken_off_total")
        if not isinstance(value, OSError) and isinstance(value, Exception):
            log.error("an answer broke off reason=%s: %s", type(value).__name__, value)


class Server(pywsgi.WSGIServer):
    """Listens at one address. `start` raises OSError if the address is taken."""

    handler_class = Handler

    def __init__(self, address: tuple[str, int], application: Callable[..., Any], stats: Stats, limits: RateLimits, *,
                 connections: int, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(address, application, backlog=128, log=None, error_log=None)
        self.base_env["wsgi.url_scheme"] = "https" if tls is not None else "http"
        self.stats, self.limits, self._connections = stats, limits, ConnectionLimit(connections)
        self.max_accept = ACCEPTS
        self._handshake = tls

    def set_max_accept(self) -> None:
        """Keep ACCEPTS; gevent would set its own value here."""

    def do_handle(self, sock: Any, address: Any) -> None:
        """Serve a connection, or close it immediately if it exceeds a limit."""
        client = client_of(address[0])
        if not self._connections.enter(client):
            self.stats.add("api_connections_refused_total")
            with suppress(OSError):
                if self._handshake is None:
                    sock.settimeout(0.0)
                    sock.send(FULL)
            sock.close()
            return
        gevent.spawn(self._serve, sock, address, client)

    def _serve(self, sock: Any, address: Any, client: str) -> None:
        try:
            with suppress(OSError, _TooSlow):
                sock.settimeout(SEND_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._handshake is not None:
                    with gevent.Timeout(HANDSHAKE_S, _TooSlow):
                        sock = self._handshake.wrap_socket(sock, server_side=True)
                self.handle(sock, address)
        finally:
            self._connections.leave(client)
            sock.close()
