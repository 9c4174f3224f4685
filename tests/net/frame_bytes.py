"""Frames as a server sends them, and a stream that gives them out by a script."""

from __future__ import annotations

import struct

from websocket import ABNF

from pumpwatch.net.stream import StreamClosed


class ScriptedStream:
    """Gives out its chunks one a read, and remembers what was sent."""

    def __init__(self, chunks):
        self.chunks, self.sent = list(chunks), b""

    def receive(self, target, at):
        if not self.chunks:
            raise StreamClosed("script ended")
        chunk = self.chunks.pop(0)
        target[at : at + len(chunk)] = chunk
        return at + len(chunk)

    def post(self, data):
        self.sent += data
        return True


def frame(payload: bytes, opcode: int = ABNF.OPCODE_TEXT, final: bool = True, length_as: int = 0) -> bytes:
    first = opcode | (0x80 if final else 0)
    size = len(payload)
    if length_as == 127 or size > 0xFFFF:
        return struct.pack(">BBQ", first, 127, size) + payload
    if length_as == 126 or size > 125:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BB", first, size) + payload
