"""The WebSocket handshake, with a scripted stream."""

from __future__ import annotations

import base64
import hashlib
import ssl

import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.handshake import GUID, shake_hands
from pumpwatch.net.heads import BadAnswer
from pumpwatch.net.ws import Dialer
from tests.net.byte_stream import ByteStream
from tests.net.hostile_server import answer, hostile

PLAIN = ssl.create_default_context()


@pytest.mark.parametrize(("said", "reason"), [
    (b"HTTP/1.1 200 OK\r\n\r\nwelcome", "rejected with HTTP 200: welcome"),
    (b"HTTP/1.1 101 Switching\r\n\r\n", "does not upgrade"),
    (b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
     "wrong Sec-WebSocket-Accept"),
    (b"HTTP/1.1 403 No\r\n\r\n<h1>\x1b[31mno\r\nway</h1>", r"rejected with HTTP 403: <h1>\\x1b\[31mno way</h1>"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP/1.1: SSH-2.0-OpenSSH"), (b"", "is incomplete: nothing came"),
    (b"HTTP/1.1 20", r"is incomplete: HTTP/1\.1 20")])
def test_an_answer_that_is_no_websocket_is_refused_with_what_came(said: bytes, reason: str) -> None:
    with hostile(answer(said)) as server, pytest.raises(ServiceUnavailable, match=reason):
        Dialer(PLAIN, 5.0).open(f"ws://{server.address}/ws", {})


def accepting(sent: bytes) -> bytes:
    """Answer a request as a WebSocket server does, with one frame behind it."""
    key = next(line.partition(b": ")[2] for line in sent.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (b"HTTP/1.1 101 Switching\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: "
            + accept + b"\r\n\r\n\x81\x011")


@pytest.mark.parametrize(("url", "target", "host"), [
    ("wss://host/ws?a=1", b"/ws?a=1", b"host"), ("wss://host:443", b"/", b"host"), ("ws://host:9000/x", b"/x", b"host:9000"),
    ("wss://[::1]:8443/", b"/", b"[::1]:8443")])
def test_the_request_names_target_and_host_and_a_frame_behind_the_answer_stays_in_the_stream(
        url: str, target: bytes, host: bytes) -> None:
    stream = ByteStream(reply=accepting)
    shake_hands(stream, url, {"Origin": "https://here"})
    lines = stream.sent.split(b"\r\n")
    assert lines[0] == b"GET " + target + b" HTTP/1.1" and b"Host: " + host in lines and b"Origin: https://here" in lines
    assert stream.ahead == b"\x81\x011"


def test_every_handshake_has_a_key_of_its_own() -> None:
    first, second = ByteStream(reply=accepting), ByteStream(reply=accepting)
    shake_hands(first, "ws://host/", {})
    shake_hands(second, "ws://host/", {})
    assert first.sent != second.sent


@pytest.mark.parametrize(("url", "headers", "problem"), [
    ("ws://host/", {"X": "a\r\nEvil: 1"}, "line break"), ("ws://host/a b", {}, "a space in|contains a space")])
def test_an_address_or_a_header_that_would_forge_a_line_is_never_sent(url: str, headers: dict[str, str], problem: str) -> None:
    stream = ByteStream()
    with pytest.raises(BadAnswer, match=problem):
        shake_hands(stream, url, headers)
    assert not stream.sent


def test_a_redirect_is_shown_and_not_followed() -> None:
    with pytest.raises(BadAnswer, match="rejected with HTTP 302 to wss://elsewhere/, which is not followed"):
        shake_hands(ByteStream(b"HTTP/1.1 302 Found\r\nLocation: wss://elsewhere/\r\n\r\n"), "ws://host/", {})
