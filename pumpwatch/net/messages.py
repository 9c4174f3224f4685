"""A WebSocket for a greenlet that waits for occasional messages, such as a push source of listings.

Frames are read by `Connection`, like those of venues; only the waiting differs.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType

from gevent.socket import wait_read

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.stream import Stream

LARGEST_MESSAGE_BYTES = 4_194_304


class TextSocket:
    """The messages of one stream that `Dialer.open` returned. Leaving its context closes it."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._buffer, self._clock = stream, FrameBuffer(), Clock()
        self._connection = Connection(stream, self._buffer, LARGEST_MESSAGE_BYTES, lambda reason: None)
        self._messages: deque[bytes] = deque()

    def __enter__(self) -> TextSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close("done")
        self._stream.close()

    def send(self, text: str) -> None:
        """Send one text message. Raises ServiceUnavailable if the connection has ended."""
        self._connection.send_text(text)
        if self._connection.closed:
            raise ServiceUnavailable(self._connection.closed)

    def receive(self, wait_s: float) -> bytes | None:
        """Return the next message, or None if none comes within wait_s.

        Raises ServiceUnavailable once the connection has ended and its last message was returned.
        """
        until_s = self._clock.monotonic() + wait_s
        while not self._messages:
            if self._connection.closed:
                raise ServiceUnavailable(self._connection.closed)
            self._connection.sweep(self._clock.now_ns())  # before any wait: the handshake may have read a message already
            frames = self._buffer.take_frames()
            if frames is not None:
                self._messages.extend(frames.payload(number) for number in range(len(frames)))
            elif not self._connection.closed and not self._connection.frames_wait \
                    and not self._wait(until_s - self._clock.monotonic()):
                return None
        return self._messages.popleft()

    def _wait(self, seconds: float) -> bool:
        """Wait for bytes; return whether any came."""
        try:
            wait_read(self._stream.fileno(), max(seconds, 0.001))
        except TimeoutError:
            return False
        return True
