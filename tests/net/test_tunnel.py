"""Connections through HTTP and SOCKS5 proxies."""

from __future__ import annotations

import base64
import socket
import ssl
import struct

import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.http import Http
from pumpwatch.net.ws import Dialer
from tests.net.hostile_server import answer, first_lines, hostile, with_body

PLAIN = ssl.create_default_context()


def test_rest_and_websocket_go_through_the_configured_proxy_with_its_user() -> None:
    proxy_answer = with_body(b"{}")
    with hostile(answer(proxy_answer)) as proxy:
        url = f"http://user:p%40ss@{proxy.address}"
        assert Http(PLAIN, 5.0, url).fetch("http://api.test/list").body == b"{}"
        with pytest.raises(ServiceUnavailable):
            Http(PLAIN, 5.0, url).fetch("https://api.test/list")
        with pytest.raises(ServiceUnavailable):
            Dialer(PLAIN, 5.0, url).open("ws://api.test/ws", {})
    assert first_lines(proxy.requests) == ["GET http://api.test/list HTTP/1.1", "CONNECT api.test:443 HTTP/1.1",
                                           "CONNECT api.test:80 HTTP/1.1"]
    basic = b"Basic " + base64.b64encode(b"user:p@ss")
    assert all(b"Proxy-Authorization: " + basic in one for one in proxy.requests)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_connects_and_resolves_names_on_the_right_side(scheme: str) -> None:
    heard: list[bytes] = []

    def socks(sock: socket.socket) -> None:
        heard.append(sock.recv(3 + 1))
        sock.sendall(b"\x05\x02")
        heard.append(sock.recv(100))
        sock.sendall(b"\x01\x00")
        heard.append(sock.recv(100))
        sock.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01" + struct.pack(">H", 5))
        sock.recv(10_000)
        sock.sendall(with_body(b"through"))

    with hostile(socks, wait_for_request=False) as proxy:
        http = Http(PLAIN, 5.0, f"{scheme}://me:pw@{proxy.address}", resolve=lambda host, port: ["10.1.2.3"])
        assert http.fetch("http://api.test:8080/x").body == b"through"
    address = b"\x01\x0a\x01\x02\x03" if scheme == "socks5" else b"\x03\x08api.test"
    assert heard == [b"\x05\x02\x00\x02", b"\x01\x02me\x02pw", b"\x05\x01\x00" + address + struct.pack(">H", 8080)]


@pytest.mark.parametrize(("said", "reason"), [
    (b"HTTP/1.1 400 no", "does not speak SOCKS5"), (b"\x05\xff", "requires a user"),
    (b"\x05\x00\x05\x05\x00\x01", "rejects the connection: connection refused"), (b"\x05\x00\x05\x63\x00\x01", "code 99"),
    (b"", "closed the connection in the middle")])
def test_a_socks_proxy_that_rejects_gives_its_reason(said: bytes, reason: str) -> None:
    def refuse(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(said[:2])
        if said[2:]:
            sock.recv(100)
            sock.sendall(said[2:])

    with hostile(refuse, wait_for_request=False) as proxy, pytest.raises(ServiceUnavailable, match=reason):
        Dialer(PLAIN, 5.0, f"socks5h://{proxy.address}").open("wss://api.test/ws", {})
