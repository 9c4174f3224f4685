"""A stream for handshakes that gives out a script in pieces of a size, and remembers what was sent."""

from __future__ import annotations

from pumpwatch.net.allowance import ReadAllowance


class ByteStream:
    """`reply(sent)` may add to what comes, once something was sent."""

    def __init__(self, incoming: bytes = b"", piece: int = 1 << 16, reply=lambda sent: b"") -> None:
        self.allowance = ReadAllowance(5.0)
        self.incoming, self.piece, self.reply = incoming, piece, reply
        self.sent, self.ahead = b"", b""

    def recv(self, size: int) -> bytes:
        size = min(size, self.piece)
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        return data

    def send(self, data: bytes) -> int:
        self.sent += data
        self.incoming += self.reply(data)
        return len(data)

    def unread(self, data: bytes) -> None:
        self.ahead = data
