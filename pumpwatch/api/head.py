"""Read and check the head of a request: bounded in size, and strict where other HTTP parsers might read it differently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from pumpwatch.api.route import Problem

LONGEST_LINE = 8192
LONGEST_HEAD = 16_384
MOST_HEADERS = 64
LARGEST_BODY = 65_536

_REQUEST = re.compile(rb"([A-Z]{1,20}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_ONCE = ("host", "content-length", "transfer-encoding", "content-type", "authorization", "origin", "expect")
_FORBIDDEN = re.compile(r"%(?:00|0[ad]|2e|2f|5c)", re.IGNORECASE)  # encoded to hide NUL, a line end, a dot or a slash


class LineReader(Protocol):
    """The socket as a file."""

    def readline(self, size: int, /) -> bytes:
        """Return a line, at most `size` bytes of it; empty at the end."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body. headers: by lower-case name; repeated ones are joined by commas.

    length: of the body in bytes, None if it is chunked.
    """

    method: str
    target: str
    version: str
    headers: dict[str, str]
    length: int | None
    keep_alive: bool


def read_head(lines: LineReader) -> RequestHead | None:
    """Return the next request, None if the client has closed the connection. Raises Problem."""
    line = _line(lines, 414, "the address is too long")
    if line is None:
        return None
    found = _REQUEST.fullmatch(line)
    if not found:
        raise Problem(400, "not a request line of HTTP/1.1")
    method, target = found[1].decode(), found[2].decode()
    path = target.partition("?")[0]
    if _FORBIDDEN.search(path) or "\\" in path or "#" in target or ".." in path.split("/"):
        raise Problem(400, "the path has forbidden characters")
    headers = _headers(lines, LONGEST_HEAD - len(line))
    version = f"HTTP/1.{found[3].decode()}"
    words = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    keep_alive = "close" not in words and (version == "HTTP/1.1" or "keep-alive" in words)
    return RequestHead(method, target, version, headers, _length(headers, version), keep_alive)


def _line(lines: LineReader, status: int, problem: str) -> bytes | None:
    line = lines.readline(LONGEST_LINE + 2)
    if not line:
        return None
    if not line.endswith(b"\r\n"):
        if len(line) >= LONGEST_LINE + 2:
            raise Problem(status, f"{problem}: at most {LONGEST_LINE} bytes")
        raise Problem(400, "a line does not end in CR LF")
    return line[:-2]


def _headers(lines: LineReader, room: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    count = 0
    while True:
        line = _line(lines, 431, "a header is too long")
        if line is None:
            raise Problem(400, "the request ends within its headers")
        if not line:
            return headers
        room, count = room - len(line) - 2, count + 1
        if room < 0:
            raise Problem(431, f"the headers are too long: at most {LONGEST_HEAD} bytes in all")
        if count > MOST_HEADERS:
            raise Problem(431, f"at most {MOST_HEADERS} headers")
        found = _FIELD.fullmatch(line)
        if not found:
            raise Problem(400, "not a header")
        name, value = found[1].decode().lower(), found[2].decode("latin-1")
        if name in headers and name in _ONCE:
            raise Problem(400, f"the header {name} is repeated")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value


def _length(headers: dict[str, str], version: str) -> int | None:
    """Return the length of the body, 0 without one, None for chunks. Raises Problem."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if version == "HTTP/1.1" and "host" not in headers:
        raise Problem(400, "the header host is missing")
    if coding is not None:
        if length is not None or version == "HTTP/1.0":
            raise Problem(400, "a body has either a length or chunks, and HTTP/1.0 has no chunks")
        if coding.lower() != "chunked":
            raise Problem(501, "chunked is the only supported transfer coding")
        return None
    if length is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,15}", length):
        raise Problem(400, "content-length is not a number")
    if int(length) > LARGEST_BODY:
        raise Problem(413, f"a body has at most {LARGEST_BODY} bytes")
    return int(length)
