"""The server's side of WebSocket frames and HTTP: only the parts that a venue needs, and strict about client input."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

from pumpwatch.sim.http_messages import HttpReply

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MAX_MESSAGE = 1_048_576
MAX_HEAD = 32_768
REASONS = {101: "Switching Protocols", 200: "OK", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized",
           403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 418: "I'm a teapot",
           429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


class ProtocolError(Exception):
    """The client broke RFC 6455 or HTTP: close with `code`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def head(length: int, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return the head of an unmasked frame."""
    first = (0x80 if final else 0) | opcode
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


_heads: dict[tuple[int, int], bytes] = {}


def frames_of(payloads: list[bytes], opcode: int = TEXT) -> list[bytes]:
    """Return a whole frame for each payload."""
    heads, frames = _heads, []
    for payload in payloads:
        key = (opcode, len(payload))
        start = heads.get(key)
        if start is None:
            start = heads[key] = head(len(payload), opcode)
        frames.append(start + payload)
    return frames


class ClientFrames:
    """Splits a client's bytes into messages; every client frame must be masked."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._parts: list[bytes] = []
        self._opcode = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add bytes and return the (opcode, payload) of each message that is complete. Raises ProtocolError."""
        self._bytes += data
        messages = []
        while (frame := self._cut()) is not None:
            final, opcode, payload = frame
            if opcode >= CLOSE:
                if not final or len(payload) > 125:
                    raise ProtocolError(1002, "a control frame is fragmented or too long")
                messages.append((opcode, payload))
                continue
            if (opcode == CONTINUATION) != bool(self._opcode):
                raise ProtocolError(1002, "a fragment out of order")
            self._opcode = self._opcode or opcode
            self._parts.append(payload)
            if sum(map(len, self._parts)) > MAX_MESSAGE:
                raise ProtocolError(1009, "message too big")
            if final:
                messages.append((self._opcode, b"".join(self._parts)))
                self._parts, self._opcode = [], 0
        return messages

    def _cut(self) -> tuple[bool, int, bytes] | None:
        data = self._bytes
        if len(data) < 2:
            return None
        opcode, length, at = data[0] & 0x0F, data[1] & 0x7F, 2
        if data[0] & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProtocolError(1002, "reserved bits or opcode")
        if not data[1] & 0x80:
            raise ProtocolError(1002, "a client frame is not masked")
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(data[2:2 + size], "big"), 2 + size
        if length > MAX_MESSAGE:
            raise ProtocolError(1009, "message too big")
        if len(data) < at + 4 + length:
            return None
        key = bytes(data[at:at + 4])
        masked = bytes(data[at + 4:at + 4 + length])
        pad = (key * (length // 4 + 1))[:length]
        payload = (int.from_bytes(masked, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
        final = bool(data[0] & 0x80)
        del data[:at + 4 + length]
        return final, opcode, payload


class ClientRequest:
    """A complete HTTP request. Header names are in lower case."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        parts = urlsplit(target)
        self.method, self.headers, self.body = method, headers, body
        self.path = unquote(parts.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))

    @property
    def is_upgrade(self) -> bool:
        """Return whether the client wants a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"


def read_request(read: Callable[[], bytes], left: bytearray) -> ClientRequest | None:
    """Read one request, or return None if the client has left. Raises ProtocolError.

    left: bytes that were read beyond the previous request; afterwards those beyond this one.
    """
    while b"\r\n\r\n" not in left:
        if len(left) > MAX_HEAD:
            raise ProtocolError(400, "head too long")
        data = read()
        if not data:
            return None
        left += data
    text, _, rest = bytes(left).partition(b"\r\n\r\n")
    lines = text.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ProtocolError(400, "not an HTTP request")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length") or 0)
    while len(rest) < length:
        data = read()
        if not data:
            return None
        rest += data
    left[:] = rest[length:]
    return ClientRequest(words[0], words[1], headers, rest[:length])


def accept(request: ClientRequest) -> bytes:
    """Return the answer to a WebSocket handshake. Raises ProtocolError if the request is not one."""
    key = request.headers.get("sec-websocket-key", "")
    if request.headers.get("sec-websocket-version") != "13" or len(key) != 24:
        raise ProtocolError(400, "not a WebSocket handshake of version 13")
    digest = base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()).decode()
    return ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {digest}\r\n\r\n").encode()


def answer(reply: HttpReply, *, keep: bool) -> bytes:
    """Return an HTTP answer as bytes."""
    lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    if "Content-Type" not in reply.headers and reply.body:
        lines.append("Content-Type: application/json;charset=UTF-8")
    if reply.status != 304:
        lines.append(f"Content-Length: {len(reply.body)}")
    lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + (b"" if reply.status == 304 else reply.body)
