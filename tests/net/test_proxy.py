"""One place decides about proxies, none of their passwords is shown, and each kind of them leads there."""

from __future__ import annotations

import base64
import socket
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.config import load
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.net.dial import Destination
from pumpwatch.net.http import Http
from pumpwatch.net.proxy import Proxies, parse_proxy, proxy_to
from pumpwatch.net.texts import masked, one_line, shown_address
from pumpwatch.net.ws import Dialer
from tests.net.hostile_server import answer, first_lines, hostile, with_body

PLAIN = ssl.create_default_context()
SECRET = "s3cr3t"


def way(environ: dict[str, str], url_host: str = "api.test", port: int = 443, secure: bool = True, configured: str = "") -> str:
    return str(Proxies(configured, environ).way_to(url_host, port, secure) or "direct")


@pytest.mark.parametrize(("host", "direct"), [
    *((host, True) for host in ("127.8.8.8:1", "[::1]:1", "localhost:1", "0.0.0.0:1", "[::]:1", "127.1:1", "0x7f000001:1",
                                "[::ffff:127.0.0.1]:1", "db:x")),
    *((host, False) for host in ("10.0.0.1:1", "localhost.example:1", "10.1:1", "[::ffff:10.0.0.1]:1", "dead:1"))])
def test_a_sinks_address_on_this_machine_is_reached_without_a_proxy(
        monkeypatch: pytest.MonkeyPatch, host: str, direct: bool) -> None:
    monkeypatch.setenv("http_proxy", "http://me:p%2Fw@proxy:1")
    assert proxy_to(f"http://{host}") == ("" if direct else "http://me:p%2Fw@proxy:1")


def test_the_configured_proxy_goes_before_the_environment_and_its_exceptions() -> None:
    environ = {"HTTPS_PROXY": "http://env:1", "http_proxy": "http://env:1", "NO_PROXY": "*"}
    for host in ("api.test", "127.0.0.1"):
        for secure in (True, False):
            assert way(environ, host, secure=secure, configured="socks5h://own:1080") == "socks5h://own:1080"


@pytest.mark.parametrize(("environ", "secure", "expected"), [
    ({"HTTPS_PROXY": "http://a:1"}, True, "http://a:1"), ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1"}, True, "http://a:1"),
    ({"HTTPS_PROXY": "http://a:1"}, False, "direct"), ({"HTTP_PROXY": "http://a:1"}, False, "http://a:1"),
    ({"ALL_PROXY": "socks5://a"}, True, "socks5://a:1080"), ({"all_proxy": "a:3128", "http_proxy": "b:1"}, False, "http://b:1"),
    ({"https_proxy": "", "HTTPS_PROXY": "http://b:1"}, True, "direct"), ({}, True, "direct"),
    ({"https_proxy": "http://u:p@a"}, True, "http://***@a:80"),
])
def test_the_environment_decides_where_the_config_does_not(environ: dict[str, str], secure: bool, expected: str) -> None:
    assert way(environ, secure=secure) == expected


@pytest.mark.parametrize(("no_proxy", "host", "port", "direct"), [
    ("*", "api.test", 443, True), ("api.test", "api.test", 443, True), ("test", "api.test", 443, True),
    (".test", "api.test", 443, True), ("*.test", "API.test.", 443, True), ("est", "api.test", 443, False),
    ("a.test, b.test", "b.test", 443, True), ("a.test:8443", "a.test", 443, False), ("a.test:443", "a.test", 443, True),
    ("10.0.0.0/8", "10.1.2.3", 443, True), ("10.0.0.0/8", "11.1.2.3", 443, False), ("10.0.0.0/8", "api.test", 443, False),
    ("fd00::/8", "fd00::1", 443, True), ("", "127.0.0.1", 9000, True), ("", "localhost", 9000, True), ("", "::1", 9000, True),
    ("", "127.5.5.5", 1, True), ("", "x.localhost", 1, True), ("", "10.0.0.1", 1, False),
])
def test_no_proxy_is_honoured_and_this_machine_is_reached_directly(no_proxy: str, host: str, port: int, direct: bool) -> None:
    assert (way({"https_proxy": "http://a:1", "no_proxy": no_proxy}, host, port) == "direct") == direct


@pytest.mark.parametrize("text", [
    f"user:{SECRET}@proxy:8080", f"https://user:{SECRET}@proxy:8080", f"http://user:{SECRET}@proxy:port", f"http://user:{SECRET}@:8080",
    f"http://user:{SECRET}/x@proxy:8080", f"http://user:{SECRET}#x@proxy:8080", f"http://user:{SECRET}?x@proxy:8080",
    f"http://user:{SECRET} x@proxy:8080", f"http://user:{SECRET}\n@proxy:8080", f"http//user:{SECRET}@proxy:8080",
    f"http://user:{SECRET}", f"http:/user:{SECRET}@proxy:1", f"user:{SECRET}", f"http://user:{SECRET}@proxy:99999",
    f"http://user:{SECRET}@proxy:1/path", f"ftp://user:{SECRET}@proxy", f"socks4://user:{SECRET}@proxy", f"http://[user:{SECRET}@proxy",
    f"http://user:{SECRET}@pro[xy:80", f"http://@{SECRET}:x", f"socks5://user:{SECRET * 100}@proxy:1", "http://", "://", "http://proxy:0"])
def test_a_malformed_proxy_is_refused_and_its_password_is_in_no_message(tmp_path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Proxies(text)
    said = str(caught.value)
    assert said.startswith("net.proxy: ") and SECRET not in said and "socks5h://" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        load(None, {"PUMPWATCH_NET__PROXY": f"'{text}'"})
    assert "environment PUMPWATCH_NET__PROXY: " in str(caught.value) and SECRET not in str(caught.value)
    (tmp_path / "a.yaml").write_text(f"net:\n  proxy: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a.yaml", {})
    assert SECRET not in str(caught.value)


def test_a_malformed_proxy_of_the_environment_is_named_by_its_variable_and_only_where_it_counts() -> None:
    environ = {"HTTPS_PROXY": f"https://user:{SECRET}@proxy:1"}
    with pytest.raises(ConfigError, match=r"^environment HTTPS_PROXY: https://\*\*\*@proxy:1: https is not supported") as caught:
        Proxies("", environ)
    assert SECRET not in str(caught.value)
    assert str(Proxies("http://own:1", environ).way_to("a", 1, True)) == "http://own:1"


def test_a_proxy_shows_no_password() -> None:
    proxy = parse_proxy(f"http://user:{SECRET}@[fd00::1]:8080", "x")
    assert (proxy.host, proxy.port, proxy.user, proxy.password) == ("fd00::1", 8080, "user", SECRET)
    assert f"{proxy} {proxy!r}".count(SECRET) == 0 and str(proxy) == "http://***@[fd00::1]:8080"
    assert parse_proxy("socks5://a%40b:p%2F%3A@h:1", "x").password == "p/:"


def test_passwords_in_texts_are_masked() -> None:
    assert masked(f"GET https://u:{SECRET}@h/x and ws://u@h: no") == "GET https://***@h/x and ws://***@h: no"
    assert masked("wss://stream/ws/btcusdt@trade") == "wss://stream/ws/btcusdt@trade"
    assert one_line(f"a\r\nb \x1b[31m https://u:{SECRET}@h") == "a b \\x1b[31m https://***@h"
    assert shown_address(f"user:{SECRET}@h:1") == "***@h:1" and shown_address("127.0.0.1:9000") == "127.0.0.1:9000"


@given(st.text(alphabet="ab:/@#?[]. %\\", max_size=30))
def test_whatever_stands_before_an_at_is_not_shown(text: str) -> None:
    assert "zz" not in shown_address(f"http://u:zz{text}@host") and "zz" not in shown_address(f"u:zz{text}@host")


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
def test_a_socks_proxy_leads_there_and_resolves_names_where_it_should(scheme: str) -> None:
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
def test_a_socks_proxy_that_refuses_says_why(said: bytes, reason: str) -> None:
    def refuse(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(said[:2])
        if said[2:]:
            sock.recv(100)
            sock.sendall(said[2:])

    with hostile(refuse, wait_for_request=False) as proxy, pytest.raises(ServiceUnavailable, match=reason):
        Dialer(PLAIN, 5.0, f"socks5h://{proxy.address}").open("wss://api.test/ws", {})


def test_a_proxy_that_is_not_there_is_named_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://user:{SECRET}@127.0.0.1:{free.getsockname()[1]}"
    for dial in (lambda: Dialer(PLAIN, 5.0, url).open("wss://api.test/ws", {}),
                 lambda: Http(PLAIN, 5.0, url).fetch("https://api.test/")):
        with pytest.raises(ServiceUnavailable, match=r"the proxy http://\*\*\*@127\.0\.0\.1:\d+ cannot be reached") as caught:
            dial()
        assert SECRET not in str(caught.value)


def test_a_redirect_may_not_lead_to_an_address_of_the_inside_through_a_proxy_either() -> None:
    from pumpwatch.net.allowance import ReadAllowance
    from pumpwatch.net.dial import NotReached, StreamDialer
    from pumpwatch.net.redirects import is_public

    destination = Destination(True, "169.254.169.254", 443, is_public)
    with hostile(answer(b"")) as proxy, pytest.raises(NotReached):
        StreamDialer(PLAIN, f"http://{proxy.address}").open(destination, ReadAllowance(5.0))


@pytest.mark.parametrize("most", [10, 40, 120])
def test_a_password_whose_sign_stands_behind_the_cut_is_not_shown(most: int) -> None:
    text = f"ws://{SECRET}{'x' * 2000}@host/"
    for sent in (text, text.encode()):
        assert SECRET not in one_line(sent, most)
        assert SECRET not in one_line(f"went to {sent!s}", most)
    assert one_line("a\n\x1b[2J b\u202e") == r"a \x1b[2J b\u202e"
