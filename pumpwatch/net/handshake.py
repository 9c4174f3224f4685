"""The client's half of a WebSocket handshake (RFC 6455, section 4).

websocket-client's handshake is not used: it reads the body of a rejection to its end, and it keeps the cookies of all venues
in one place, where one venue can set those of another.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from pumpwatch.net.heads import BadAnswer, Head, read_head
from pumpwatch.net.redirects import origin_of
from pumpwatch.net.stream import Stream
from pumpwatch.net.texts import one_line

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def shake_hands(stream: Stream, url: str, headers: Mapping[str, str]) -> None:
    """Request a WebSocket and read the answer; frames that came with it stay in the stream.

    Raises BadAnswer if the request is rejected or redirected, and the errors of the stream's allowance.
    """
    key = base64.b64encode(os.urandom(16))
    stream.send(_request(url, headers, key.decode()))
    head = read_head(stream, "its answer to the handshake")
    if head.status != 101:
        raise BadAnswer(f"the handshake was rejected with HTTP {head.status}{_details(head)}")
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    problem = _problem(head, accept)
    if problem:
        raise BadAnswer(f"its answer to the handshake does not open a WebSocket: {problem}")


def _request(url: str, headers: Mapping[str, str], key: str) -> bytes:
    parts = urlsplit(url)
    secure, host, port = origin_of(url)
    host = f"[{host}]" if ":" in host else host
    lines = [f"GET {parts.path or '/'}{f'?{parts.query}' if parts.query else ''} HTTP/1.1",
             f"Host: {host if port == (443 if secure else 80) else f'{host}:{port}'}", "Upgrade: websocket",
             "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    for line in lines:
        if "\r" in line or "\n" in line:
            raise BadAnswer("the address or a header contains a line break")
    if " " in parts.path or " " in parts.query:
        raise BadAnswer("the address contains a space")
    return "\r\n".join([*lines, "", ""]).encode()


def _problem(head: Head, accept: str) -> str:
    if "websocket" not in _words(head, "upgrade") or "upgrade" not in _words(head, "connection"):
        return "it does not upgrade"
    if head.headers.get("sec-websocket-accept") != accept:
        return "a wrong Sec-WebSocket-Accept"
    return ""


def _words(head: Head, name: str) -> list[str]:
    return [word.strip().lower() for word in head.headers.get(name, "").split(",")]


def _details(head: Head) -> str:
    """Return the target of a redirect, or the beginning of a rejection's body if it came together with the head."""
    if 300 <= head.status < 400 and (location := head.headers.get("location")):
        return f" to {one_line(location)}, which is not followed"
    words = one_line(head.rest)
    return f": {words}" if words else ""
