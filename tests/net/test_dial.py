"""From a name to a stream within one time, and the handshake's answer taken for no more than it is."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time

import gevent
import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.allowance import ReadAllowance
from pumpwatch.net.dial import Destination, StreamDialer
from pumpwatch.net.http import Http
from pumpwatch.net.ws import Dialer, tls_context
from tests.net.hostile_server import answer, hostile, with_body

PLAIN = ssl.create_default_context()
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def test_a_hanging_resolver_is_given_up_and_blocks_one_thread_for_all_callers() -> None:
    asked: list[str] = []

    def hangs(host: str, port: int) -> list[str]:
        asked.append(host)
        gevent.sleep(1.0)
        return ["127.0.0.1"]

    def refused(dialer: Dialer) -> str:
        with pytest.raises(ServiceUnavailable) as caught:
            dialer.open("ws://venue.test/ws", {})
        return caught.value.message

    dialer = Dialer(PLAIN, 0.2, resolve=hangs)
    dials = [gevent.spawn(refused, dialer) for _ in range(5)]
    gevent.joinall(dials, raise_error=True)
    assert {one.value for one in dials} == {"venue.test:80: looking up its name takes longer than 0.2 s"}
    assert asked == ["venue.test"]
    with pytest.raises(ServiceUnavailable, match="looking up its name takes longer"):
        Http(PLAIN, 0.2, resolve=hangs).fetch("http://venue.test/")


def test_a_name_without_an_address_is_one_clear_error() -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ServiceUnavailable, match=r"^venue\.test:443: .*Name or service not known"):
        Dialer(PLAIN, 1.0, resolve=nowhere).open("wss://venue.test/ws", {})
    with pytest.raises(ServiceUnavailable, match="not an http, https, ws or wss address"):
        Dialer(PLAIN, 1.0).open(f"wss://{'a' * 70}.test/ws", {})


def test_the_next_address_is_tried_if_one_does_not_answer() -> None:
    with hostile(answer(with_body(b"here"))) as server:
        http = Http(PLAIN, 5.0, resolve=lambda host, port: ["127.0.0.3", "127.0.0.1"])
        assert http.fetch(f"http://venue.test:{server.port}/").body == b"here"


@pytest.mark.parametrize("url", ["http://venue.test/", "ws://", "ws:///x", "ws://venue.test:port/", "nonsense", "ws://[::1"])
def test_an_invalid_websocket_address_is_one_clear_error(url: str) -> None:
    with pytest.raises(ServiceUnavailable):
        Dialer(PLAIN, 1.0, resolve=lambda host, port: []).open(url, {})


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://a b/", "ftp://x/", "http://user:s3cr3t/x@host/", "http://host:port/"])
def test_an_invalid_rest_address_is_one_clear_error_without_a_password(url: str) -> None:
    with pytest.raises(ServiceUnavailable) as caught:
        Http(PLAIN, 1.0, resolve=lambda host, port: []).fetch(url)
    assert "s3cr3t" not in str(caught.value)


class Answering:
    """An upgrade that knows the key it was asked with."""

    def __init__(self, *headers: bytes) -> None:
        self.headers, self.asked = headers, list[bytes]()

    def __call__(self, sock: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(65_536)
        self.asked.append(request)
        key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        sock.sendall(b"\r\n".join((b"HTTP/1.1 101 Switching Protocols", b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade",
                                   b"Sec-WebSocket-Accept: " + accept, *self.headers, b"", b"")))


def test_a_venue_cannot_leave_a_cookie_for_itself_or_another() -> None:
    here = Answering(b"Set-Cookie: a=1; domain=127.0.0.1", b"Set-Cookie: \x01=;;;=", b"no colon at all")
    with hostile(here, wait_for_request=False) as server:
        dialer = Dialer(PLAIN, 5.0)
        for _ in range(2):
            dialer.open(f"ws://{server.address}/ws?a=b", {"X-Own": "yes"}).close()
    assert len(here.asked) == 2 and not any(b"Cookie" in one for one in here.asked)
    assert here.asked[0].startswith(b"GET /ws?a=b HTTP/1.1\r\nHost: " + server.address.encode() + b"\r\n")
    assert b"\r\nX-Own: yes\r\n" in here.asked[0]


def test_a_dial_that_is_killed_leaves_no_connection() -> None:
    ended: list[bool] = []

    def waits(sock: socket.socket) -> None:
        ended.append(sock.recv(1) == b"")

    with hostile(waits) as server:
        dial = gevent.spawn(Dialer(PLAIN, 30.0, resolve=lambda host, port: gevent.sleep(30.0)).open, "ws://venue.test/", {})
        gevent.sleep(0.01)
        dial.kill()
        with pytest.raises(ServiceUnavailable, match="takes longer"):
            Dialer(PLAIN, 0.3).open(f"ws://{server.address}/", {})
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ended == [True]


def test_a_rest_connection_is_reused_and_replaced_if_the_server_closed_it() -> None:
    served: list[int] = []

    def twice(sock: socket.socket) -> None:
        sock.sendall(with_body(b"1"))
        served.append(1)
        if sock.recv(65_536):
            sock.sendall(with_body(b"2"))
            served.append(2)

    with hostile(twice) as server:
        http = Http(PLAIN, 5.0)
        bodies = []
        for _ in range(4):
            bodies.append(http.fetch(f"http://{server.address}/").body)
            time.sleep(0.05)
    assert bodies == [b"1", b"2", b"1", b"2"] and served == [1, 2, 1, 2]


def test_an_incomplete_answer_and_one_in_another_encoding_are_errors() -> None:
    for said, reason in ((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "its answer is incomplete"),
                         (with_body(b"x", "Content-Encoding: br"), "encoded as br"),
                         (with_body(b"x", "Content-Encoding: gzip, gzip"), "encoded as gzip, gzip"),
                         (with_body(b"nonsense", "Content-Encoding: gzip"), "is broken"),
                         (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no answer")):
        with hostile(answer(said)) as server, pytest.raises(ServiceUnavailable, match=reason):
            Http(PLAIN, 5.0).fetch(f"http://{server.address}/")


@pytest.mark.parametrize("url", [
    "wss://user:pa/ss@127.0.0.1:1/ws", "wss://user:pa#ss@127.0.0.1:1/ws", "wss://user:secret@127.0.0.1:pass/ws"])
def test_a_malformed_address_shows_nothing_of_its_password(url: str) -> None:
    with pytest.raises(ServiceUnavailable) as raised:
        Dialer(tls_context(), 2.0).open(url, {})
    assert "not an http" in raised.value.message and not {"pa", "ss", "secret", "pass", "user"} & set(
        re.findall(r"\w+", raised.value.message))


@pytest.mark.parametrize(("avoid", "reached"), [("", "127.0.0.1"), ("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1"),
                                                ("192.0.2.1", "127.0.0.1")])
def test_the_avoided_address_is_tried_last(avoid: str, reached: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        dialer = StreamDialer(PLAIN, resolve=lambda host, port: ["127.0.0.1", "127.0.0.2"])
        there = Destination(False, "venue.test", server.getsockname()[1], avoid=avoid)
        stream, peer = dialer.open(there, ReadAllowance(5.0))
        stream.close()
        only = StreamDialer(PLAIN, resolve=lambda host, port: ["127.0.0.1"])
        stream, alone = only.open(there, ReadAllowance(5.0))
        stream.close()
    assert peer == reached and alone == "127.0.0.1"
