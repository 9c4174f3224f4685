"""One place decides about proxies, none of their passwords is shown, and each kind of them leads there."""

from __future__ import annotations

import socket
import ssl

import pytest

from pumpwatch.config import load
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.net.dial import Destination
from pumpwatch.net.http import Http
from pumpwatch.net.proxy import Proxies, parse_proxy, proxy_to
from pumpwatch.net.ws import Dialer
from tests.net.hostile_server import answer, hostile

PLAIN = ssl.create_default_context()
SECRET = "s3cr3t"


def way(environ: dict[str, str], url_host: str = "api.test", port: int = 443, secure: bool = True, configured: str = "") -> str:
    return str(Proxies(configured, environ).proxy_for(url_host, port, secure) or "direct")


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
def test_the_environment_decides_if_the_config_does_not(environ: dict[str, str], secure: bool, expected: str) -> None:
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
def test_a_malformed_proxy_is_an_error_that_never_shows_its_password(tmp_path, text: str) -> None:
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


def test_a_malformed_proxy_is_named_by_its_variable_and_only_if_it_is_used() -> None:
    environ = {"HTTPS_PROXY": f"https://user:{SECRET}@proxy:1"}
    with pytest.raises(ConfigError, match=r"^environment HTTPS_PROXY: https://\*\*\*@proxy:1: https is not supported") as caught:
        Proxies("", environ)
    assert SECRET not in str(caught.value)
    assert str(Proxies("http://own:1", environ).proxy_for("a", 1, True)) == "http://own:1"


def test_a_proxy_shows_no_password() -> None:
    proxy = parse_proxy(f"http://user:{SECRET}@[fd00::1]:8080", "x")
    assert (proxy.host, proxy.port, proxy.user, proxy.password) == ("fd00::1", 8080, "user", SECRET)
    assert f"{proxy} {proxy!r}".count(SECRET) == 0 and str(proxy) == "http://***@[fd00::1]:8080"
    assert parse_proxy("socks5://a%40b:p%2F%3A@h:1", "x").password == "p/:"


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
