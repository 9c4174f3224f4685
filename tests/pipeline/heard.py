"""A source of frames that keeps what the pipeline reports to it."""

from __future__ import annotations

from pumpwatch.model import Control
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer, next_source_number
from tests.net.frame_bytes import ScriptedStream


class HeardSource:
    """`controls` holds the control frames in order, `traded_at_ns` when the latest trades came (0: none).

    traded_ns: the last one's own time.
    """

    def __init__(self) -> None:
        self.controls: list[Control] = []
        self.traded_at_ns = self.traded_ns = 0
        self.source_number = next_source_number()

    def receive_control(self, control: Control) -> None:
        self.controls.append(control)

    def receive_trades(self, received_at_ns: int, traded_ns: int) -> None:
        self.traded_at_ns, self.traded_ns = received_at_ns, traded_ns


def heard_connection(buffer: FrameBuffer, chunks: list[bytes]) -> Connection:
    """Return a connection that reads these chunks into the buffer; its `source` is a HeardSource."""
    return Connection(ScriptedStream(chunks), buffer, 1 << 20, lambda reason: None, source=HeardSource())
