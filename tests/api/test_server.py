"""The server: limits, time limits, and who is let go, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from pumpwatch.api import head
from pumpwatch.api.route import Problem
from pumpwatch.api.server import refusal
from tests.api.desk import TOKEN
from tests.api.served import Served, rest_of, status_in

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n"


def problem_in(answer: bytes) -> dict[str, object]:
    content: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return content


def test_a_request_is_answered_and_the_connection_serves_the_next_one(served: Served) -> None:
    with served.connect() as connection:
        for _ in range(3):
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b'"up_s"' not in answer:
                answer += connection.recv(4096)
            assert status_in(answer) == 200


@pytest.mark.parametrize(("request_bytes", "status"), [
    (GET % (b"/" + b"a/" * 100_000, b""), 414),
    (GET % (b"/api/health", b"X: " + b"a" * 10_000_000 + b"\r\n"), 431),
    (GET % (b"/api/health", b"X: y\r\n" * 100), 431),
    (GET % (b"/api/health", b"X: " + b"a" * 8000 + b"\r\nY: " + b"a" * 8000 + b"\r\nZ: " + b"a" * 8000 + b"\r\n"), 431),
    (GET % (b"/..%2f..%2fetc/passwd", b""), 400),
    (GET % (b"/../../etc/passwd", b""), 400),
    (GET % (b"/%00", b""), 400),
    (b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (GET % (b"/", b"Host: evil.example\r\n"), 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"a" * 4096 + b"\r\n" * 1, 408),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + (
        b"1000\r\n" + b"a" * 4096 + b"\r\n") * 40, 413),
    (b"DELETE /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
    (GET % (b"/nothing", b""), 404),
])
def test_a_bad_request_gets_a_clear_error(served: Served, request_bytes: bytes, status: int) -> None:
    answer = served.ask(request_bytes)
    assert status_in(answer) == status, answer[:300]
    assert b"application/problem+json" in answer
    assert problem_in(answer)["status"] == status


def test_a_head_that_does_not_end_is_let_go(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with contextlib.suppress(OSError):
            while True:  # a header each quarter of a second, and never an end: a slow loris
                connection.settimeout(0.25)
                try:
                    if not connection.recv(1):
                        break
                except TimeoutError:
                    connection.sendall(b"X: y\r\n")


def test_a_body_that_does_not_come_is_refused(served: Served) -> None:
    answer = served.ask(b"POST /api/listings/drill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    assert status_in(answer) == 408


def test_an_idle_connection_is_closed(served: Served) -> None:
    with served.connect() as connection:
        assert rest_of(connection) == b""


def test_connections_beyond_the_limit_are_closed_at_once_and_those_within_it_serve_on(served: Served) -> None:
    held = [served.connect() for _ in range(10)]  # half of 20, which one address may have
    try:
        answer = b""
        for _ in range(20):
            with served.connect() as one_more:
                answer = rest_of(one_more)
                if answer:
                    break
        assert status_in(answer) == 503, "the limit of an address was not noticed"
    finally:
        for connection in held:
            connection.close()
    served.wait_until_free()


def test_whoever_reads_nothing_of_a_long_answer_is_let_go(served: Served) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        connection.settimeout(30)
        assert connection.recv(1) == b"H"
        served.wait_until_free()
        with pytest.raises(OSError):
            _send_for_ever(connection)  # it has closed: this is answered with a reset


def _send_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65_536)


def test_the_drill_goes_over_a_real_socket(served: Served) -> None:
    body = b'{"coin": "C0"}'
    head_bytes = (b"POST /api/listings/drill HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n")
    assert served.status_of(head_bytes % (len(body), TOKEN.encode()) + body) == 202
    assert served.status_of(head_bytes % (len(body), b"wrong") + body) == 401


def test_the_server_wrote_nothing_to_its_log(served: Served) -> None:
    assert served.log() == ""


def test_a_refusal_is_a_whole_answer_that_ends_the_connection() -> None:
    answer = refusal(Problem(429, "too many", {"Retry-After": "3"}))
    assert status_in(answer) == 429
    assert b"\r\nRetry-After: 3\r\n" in answer and b"\r\nConnection: close\r\n" in answer
    assert b"default-src 'none'" in answer
    assert len(answer.partition(b"\r\n\r\n")[2]) == int(answer.split(b"Content-Length: ")[1].split(b"\r\n")[0])


def test_the_limits_of_a_head_are_below_those_of_its_line() -> None:
    assert head.LONGEST_LINE < head.LONGEST_HEAD
