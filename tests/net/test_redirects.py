"""An answer may redirect to the same site by https and to the same origin, and never to the inside."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.http import Http
from pumpwatch.net.redirects import is_public, may_reach, origin_of, redirect_problem
from pumpwatch.net.ws import Dialer
from tests.net.hostile_server import HostileServer, Scenario, answer, first_lines, hostile, redirect, with_body

PLAIN = ssl.create_default_context()


@pytest.mark.parametrize("url", ["wss://user:pa/ss@127.0.0.1:1/ws", "wss://user:pa?ss@h/ws", "wss://user:pa#ss@h/ws", "ws://u:ss@h:x/"])
def test_an_invalid_websocket_address_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(ServiceUnavailable, match="not an http, https, ws or wss address") as caught:
        Dialer(PLAIN, 1.0).open(url, {})
    assert "pa" not in caught.value.message.replace("not an", "") and "ss@" not in caught.value.message


@pytest.mark.parametrize("target", ["https://a b.okx.com/", "https://a%0d.okx.com/", "https://a<b.okx.com/"])
def test_a_host_with_other_characters_is_invalid(target: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        origin_of(target)
    assert redirect_problem("https://www.okx.com", target) == "not an address"


@pytest.mark.parametrize("address", ["fec0::1", "64:ff9b:1::1", "::ffff:0:8.8.8.8", "::8.8.8.8"])
def test_addresses_within_a_site_and_translated_ones_are_not_public(address: str) -> None:
    assert not is_public(address)


def client(resolve=None, context: ssl.SSLContext = PLAIN) -> Http:
    return Http(context, 5.0, **({"resolve": resolve} if resolve else {}))


@pytest.mark.parametrize(("configured", "target"), [
    ("https://api.bithumb.com/v1/notices", "https://feed-api.bithumb.com/v1/notices"),
    ("https://api.bithumb.com/v1/notices", "https://api.bithumb.com/v2/notices"),
    ("https://upbit.com/x", "https://www.upbit.com/x"),
    ("https://api.example.co.kr", "https://feed.example.co.kr/"),
    ("https://example.co.kr", "https://www.example.co.kr/"),
    ("http://api.example.com/", "https://api.example.com/"),
    ("http://127.0.0.1:8000/a", "http://127.0.0.1:8000/b"),
    ("https://example.com:8443/a", "https://www.example.com:8443/b"),
    ("wss://a.kucoin.com", "wss://ws-api-spot.kucoin.com/"),
])
def test_the_same_site_by_https_and_the_same_origin_are_followed(configured: str, target: str) -> None:
    assert redirect_problem(configured, target) == ""


@pytest.mark.parametrize(("configured", "target", "why"), [
    ("https://api.bithumb.com/", "http://api.bithumb.com/", "neither https"),
    ("https://api.bithumb.com/", "https://bithumb.com.evil.example/", "another site"),
    ("https://api.bithumb.com/", "https://evilbithumb.com/", "another site"),
    ("https://api.bithumb.com/", "https://com/", "another site"),
    ("https://upbit.com/", "https://bithumb.com/", "another site"),
    ("https://example.co.kr/", "https://other.co.kr/", "another site"),
    ("https://api.bithumb.com/", "https://feed-api.bithumb.com:9000/", "another port"),
    ("https://api.bithumb.com/", "https://127.0.0.1/", "another site"),
    ("http://127.0.0.1:8000/", "http://127.0.0.1:9000/exec?query=DROP", "neither https"),
    ("http://127.0.0.1:8000/", "https://127.0.0.1:9000/", "another port"),
    ("http://127.0.0.1:8000/", "http://localhost:8000/", "neither https"),
    ("https://10.0.0.1/", "https://11.0.0.1/", "another site"),
    ("https://1.2.3.4/", "https://x.2.3.4/", "another site"),
    ("https://[::1]/", "https://[::2]/", "another site"),
    ("https://api.bithumb.com/", "https://user@feed-api.bithumb.com/", "user name"),
    ("https://api.bithumb.com/", "ftp://api.bithumb.com/", "not an address"),
    ("https://api.bithumb.com/", "https://api.bithumb.com:99999/", "not an address"),
    ("https://api.bithumb.com/", "file:///etc/passwd", "not an address"),
    ("wss://a.kucoin.com", "ws://127.0.0.1:9000/exec?query=DROP", "neither https"),
])
def test_everything_else_is_not_followed_with_its_reason(configured: str, target: str, why: str) -> None:
    assert why in redirect_problem(configured, target)


@given(st.text(max_size=60))
def test_any_redirect_gets_an_answer_from_the_rule(text: str) -> None:
    for start in ("", "https://", "https://api.bithumb.com", "http://127.0.0.1:8000"):
        assert isinstance(redirect_problem("http://127.0.0.1:8000/", start + text), str)


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "ff02::1", "nonsense"])
def test_an_address_of_the_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_a_private_address_may_redirect_to_itself() -> None:
    again = may_reach("http://10.0.0.5:80/a", "http://10.0.0.5/b", "10.0.0.5")
    assert again("10.0.0.5") and again("1.1.1.1") and not again("127.0.0.1")
    assert not may_reach("https://10.0.0.5/a", "https://10.0.0.5:8443/b", "10.0.0.5")("10.0.0.5")


def test_a_redirect_to_another_port_of_this_machine_is_not_followed() -> None:
    with hostile(answer(with_body(b"{}"))) as database, \
            hostile(redirect(f"http://{database.address}/exec?query=DROP%20TABLE%20trades")) as venue:
        with pytest.raises(ServiceUnavailable, match="is not followed: it is neither https nor the same host and port"):
            client().fetch(f"http://{venue.address}/list")
        for other in (f"http://localhost:{venue.port}/", f"//{database.address}/", f"https://{database.address}/"):
            venue.scenario = redirect(other)
            with pytest.raises(ServiceUnavailable, match="is not followed"):
                client().fetch(f"http://{venue.address}/list")
    assert database.requests == []


def test_a_redirect_to_the_same_origin_is_followed_and_three_at_most() -> None:
    left = [redirect("/b", status) for status in ("301 x", "302 x", "307 x")] + [answer(with_body(b"end"))]

    def next_one(sock: socket.socket) -> None:
        left.pop(0)(sock)

    with hostile(next_one) as server:
        assert client().fetch(f"http://{server.address}/a", {"X-Key": "k"}, {"n": 5}).body == b"end"
        assert first_lines(server.requests) == ["GET /a?n=5 HTTP/1.1", *["GET /b HTTP/1.1"] * 3]
        assert all(b"X-Key: k" in one for one in server.requests)
        server.scenario = redirect("/again")
        with pytest.raises(ServiceUnavailable, match="more than 3 redirects"):
            client().fetch(f"http://{server.address}/a")


def test_a_redirect_of_a_post_is_an_answer_like_any_other() -> None:
    with hostile(redirect("/b")) as server:
        assert client().fetch(f"http://{server.address}/a", method="POST").status == 302
    assert first_lines(server.requests) == ["POST /a HTTP/1.1"]


@contextmanager
def secure(authority: trustme.CA, scenario: Scenario, *hosts: str) -> Iterator[HostileServer]:
    """Run a server with TLS under these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)

    with hostile(scenario) as inside, socket.create_server(("127.0.0.1", 0)) as listener:
        def serve(raw: socket.socket) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as sock:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += sock.recv(65_536)
                inside.requests.append(asked)
                inside.scenario(sock)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        inside.port = listener.getsockname()[1]
        yield inside


def test_a_name_that_turns_out_to_be_this_machine_is_not_reached_by_a_redirect() -> None:
    """Both names are one site by https: only the address that the second one has gives it away."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with secure(authority, answer(with_body(b"")), "api.board.test", "evil.board.test") as board:
        board.scenario = redirect(f"https://evil.board.test:{board.port}/exec")
        with pytest.raises(ServiceUnavailable, match=r"evil\.board\.test is at 127\.0\.0\.1, which a redirect may not lead to"):
            client(resolve, context).fetch(f"https://api.board.test:{board.port}/list")
    assert asked == ["api.board.test", "evil.board.test"]
    assert first_lines(board.requests) == ["GET /list HTTP/1.1"]


def test_a_name_that_changes_its_address_between_two_requests_is_not_reached_at_the_new_one() -> None:
    """DNS rebinding: the address that is looked up is the address that is checked and connected to."""
    answers = [["127.0.0.2"], ["127.0.0.1"]]
    with hostile(redirect("/exec")) as server:
        server.scenario = answer(b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: /exec\r\n\r\n")
        listener = socket.create_server(("127.0.0.2", server.port))  # the same port at the first address
        threading.Thread(target=_one_answer, args=(listener, server.scenario), daemon=True).start()
        with pytest.raises(ServiceUnavailable, match=r"is at 127\.0\.0\.1, which a redirect may not lead to"):
            client(lambda host, port: answers.pop(0)).fetch(f"http://board.test:{server.port}/list")
        listener.close()
    assert server.requests == []


def _one_answer(listener: socket.socket, scenario: Scenario) -> None:
    with listener.accept()[0] as sock:
        sock.recv(65_536)
        scenario(sock)


def test_headers_of_ours_go_to_no_other_host() -> None:
    headers = {"X-Secret": "s", "Authorization": "a", "Cookie": "c", "Referer": "r", "If-None-Match": "e", "User-Agent": "u"}
    http = client()
    asked = http._redirected(_asked("https://api.board.test/list", headers), "https://feed.board.test/list",
                             "https://api.board.test/list", "1.1.1.1")[0]
    assert {name.lower() for name in asked.headers} == {"if-none-match", "user-agent"}
    same = http._redirected(_asked("https://api.board.test/list", headers), "/other", "https://api.board.test/list", "1.1.1.1")[0]
    assert headers.items() <= dict(same.headers).items()


def _asked(url: str, headers: dict[str, str]):
    from pumpwatch.net.http import _prepared

    return _prepared("GET", url, headers, None)


def test_a_websocket_follows_no_redirect() -> None:
    with hostile(answer(with_body(b"{}"))) as database, hostile(redirect(f"ws://{database.address}/exec")) as venue, \
            pytest.raises(ServiceUnavailable, match=rf"HTTP 302 to ws://{database.address}/exec, which is not followed"):
        Dialer(PLAIN, 5.0).open(f"ws://{venue.address}/ws", {})
    assert database.requests == []


def test_an_address_that_a_session_names_is_held_to_the_same_rule() -> None:
    with hostile(answer(with_body(b"{}"))) as database:
        for configured in ("wss://ws.venue.test/", "ws://127.0.0.1:1/", f"wss://{database.address}/"):
            with pytest.raises(ServiceUnavailable, match="not connected to: it is neither https"):
                Dialer(PLAIN, 5.0).open(f"ws://{database.address}/exec?query=DROP", {}, configured)
        with pytest.raises(ServiceUnavailable, match=r"is at 127\.0\.0\.1, which a redirect may not lead to"):
            Dialer(PLAIN, 5.0, resolve=lambda host, port: ["127.0.0.1"]).open(
                "wss://b.venue.test/exec", {}, "wss://a.venue.test/")
    assert database.requests == []
