"""The client's half of a WebSocket handshake (RFC 6455, section 4).

It is not websocket-client's: that one reads a refusal's body to its end, and keeps the cookies of all venues in one place,
where one venue can set those of another.
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
    """Ask for a WebSocket and read the answer; frames that came with it stay in the stream.

    Raises BadAnswer where it is refused, a redirect included, and what the stream's allowance raises.
    """
    key = base64.b64encode(os.urandom(16))
    stream.send(_request(url, headers, key.decode()))
    head = read_head(stream, "its answer to the handshake")
    if head.status != 101:
        raise BadAnswer(f"the handshake was refused with HTTP {head.status}{_said(head)}")
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    problem = _problem(head, accept)
    if problem:
        raise BadAnswer(f"its answer to the handshake is not a WebSocket's: {problem}")


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
            raise BadAnswer("a line break in the address or in a header")
    if " " in parts.path or " " in parts.query:
        raise BadAnswer("a space in the address")
    return "\r\n".join([*lines, "", ""]).encode()


def _problem(head: Head, accept: str) -> str:
    if "websocket" not in _words(head, "upgrade") or "upgrade" not in _words(head, "connection"):
        return "it does not upgrade"
    if head.headers.get("sec-websocket-accept") != accept:
        return "a wrong Sec-WebSocket-Accept"
    return ""


def _words(head: Head, name: str) -> list[str]:
    return [word.strip().lower() for word in head.headers.get(name, "").split(",")]


def _said(head: Head) -> str:
    """Return where a redirect leads, or how a refusal's body begins where that has come with its head."""
    if 300 <= head.status < 400 and (location := head.headers.get("location")):
        return f" to {one_line(location)}, which is not followed"
    words = one_line(head.rest)
    return f": {words}" if words else ""
