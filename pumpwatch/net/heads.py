"""Reads the head of an HTTP answer, as far as a handshake needs it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pumpwatch.net.allowance import HEAD_BYTES
from pumpwatch.net.stream import Stream
from pumpwatch.net.texts import one_line

CHUNK_BYTES = 4096

_end = re.compile(rb"\r?\n\r?\n")
_status_line = re.compile(rb"HTTP/1\.[01] +([1-5]\d\d)(?: |\r?\n|$)")


class BadAnswer(OSError):
    """The other side gave an unusable answer; the text describes it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A status, and headers by lower-case name (the last one of each name).

    start: the first line, safe to show. rest: the part of the body that came with the head.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    start: str = ""
    rest: bytes = b""


def read_head(stream: Stream, step: str) -> Head:
    """Read an answer's head; the data after it stays in the stream.

    step: its name in errors, such as `the proxy's answer`. Raises BadAnswer if the answer is not HTTP, and the errors of the
    stream's allowance.
    """
    stream.allowance.begin(step, HEAD_BYTES)
    head = bytearray()
    while True:
        data = stream.recv(CHUNK_BYTES)
        if not data:
            raise BadAnswer(f"{step} is incomplete: {one_line(bytes(head)) or 'nothing came'}")
        searched = max(0, len(head) - 3)
        head += data
        if found := _end.search(head, searched):
            rest = bytes(head[found.end():])
            stream.unread(rest)
            return _parsed(bytes(head[: found.start()]), rest, step)


def _parsed(head: bytes, rest: bytes, step: str) -> Head:
    status = _status_line.match(head)
    if not status:
        raise BadAnswer(f"{step} is not HTTP/1.1: {one_line(head) or 'an empty line'}")
    headers: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(status[1]), headers, one_line(head.partition(b"\n")[0]), rest)
