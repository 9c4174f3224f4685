"""Reads one WebSocket connection after its handshake: from its bytes to the venue's frame buffer.

This is RFC 6455 from the client's side: control frames are answered here, fragments are joined here, and a frame cut by the end
of a read waits here for its rest. Payloads are not decoded; the parser finds payloads that are not JSON.

A connection that costs more than it delivers is closed. There are limits on the parts of a message, on control frames and parts
in a second, and on bytes that the venue does not read. The frames split off in one sweep are limited too; the rest waits for
the next sweep.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from websocket import ABNF

from pumpwatch.clock import NS_PER_S
from pumpwatch.net.frames import FrameBuffer, FrameSource, NoSource
from pumpwatch.net.stream import ROOM_BYTES, Stream, StreamClosed
from pumpwatch.printable import printable

FINAL = (0x81, 0x82)  # the first byte of a whole text or binary message
LONG_FINAL = (0x817E, 0x827E)  # the first two bytes where two more have the length
SEPARATOR_SHORT, SEPARATOR_LONG, SEPARATOR_HUGE = b", ", b",   ", b",         "
PROTOCOL_ERROR, TOO_BIG, GOING_AWAY, POLICY = 1002, 1009, 1001, 1008
PARTS_OF_A_MESSAGE = 4096  # the largest message allowed, in parts of 1 KiB
ODD_PER_S = 10_000  # control frames and parts of messages: each costs ten times a plain frame, and venues send a few a minute
UNREAD_BYTES = 1 << 20  # unsent data of ours, which is usually a few bytes every few seconds
FRAMES_PER_SWEEP = 10_000  # 15 ms of splitting; one read can hold 131,072 empty frames

_header = struct.Struct(">HH").unpack_from


class Connection:
    """Frames in, control frames out.

    on_closed: called once with the reason, which is then in `closed`.
    received_at_ns: the time of the last data of any kind.
    frames_wait: some received data is not split yet; the next sweep splits it before it reads more.
    """

    def __init__(self, stream: Stream, buffer: FrameBuffer, max_frame_bytes: int,
                 on_closed: Callable[[str], None], name: str = "", source: FrameSource | None = None) -> None:
        self.stream, self.buffer, self.name = stream, buffer, name
        self.received_at_ns = 0
        self.bytes_read = 0
        self.closed = ""
        self.frames_wait = False
        self.source = source or NoSource()  # the pipeline reports the frames of this connection to it
        self.answered = 0  # the number of the newest ping that was answered by its own pong
        self._max_frame_bytes = max_frame_bytes
        self._on_closed = on_closed
        self._tail = bytearray()  # a frame cut by the end of a read, or frames that wait for the next sweep
        self._tail_until = 0  # its size in bytes when its first frame is complete; 0: unknown
        self._message: list[bytes] | None = None  # fragments of one message so far
        self._message_bytes = 0
        self._message_from = 0  # start in the buffer of this read's part of that message
        self._mark = os.urandom(4).hex().encode()  # the payload of our pings begins with it, which no unsolicited pong contains
        self._ping: bytes | None = None  # the payload of the newest unanswered ping of the venue
        self._flushed = True
        self._unread = 0  # bytes given to the stream since it could last send them all
        self._odd, self._odd_since_ns = 0, 0  # control frames and parts, in the second that began then

    def sweep(self, now_ns: int) -> None:
        """Read what has arrived and split it into frames, at most FRAMES_PER_SWEEP of them."""
        buffer, tail = self.buffer, self._tail
        buffer.reserve(len(tail) + ROOM_BYTES)
        start = buffer.end
        at = end = start + len(tail)
        if not self.frames_wait:
            try:
                end = self.stream.receive(buffer.view, at)
            except StreamClosed as error:
                self._lost(str(error))
                return
            if end == at:
                return
            self.received_at_ns = now_ns
            self.bytes_read += end - at
        if end - start < self._tail_until:  # a large frame that drips in is not copied each time
            tail += buffer.view[at:end]
        else:
            if tail:
                buffer.data[start:at] = tail
            self._message_from = start
            self._split(start, end)
            buffer.mark_source(self.received_at_ns, self.source)
        if self._ping is not None:  # one pong answers all pings of a read, so that a flood costs little
            ping, self._ping = self._ping, None
            self._send(ping, ABNF.OPCODE_PONG)
        if not self._flushed:
            self.post(b"")

    def _split(self, at: int, end: int) -> None:
        data, stops = self.buffer.data, self.buffer.stops
        limit = self._max_frame_bytes
        self.frames_wait = False
        for _ in range(FRAMES_PER_SWEEP):
            if end - at < 4:
                break
            head, extended = _header(data, at)
            if head in LONG_FINAL and self._message is None:
                stop = at + 4 + extended
                if stop > end:
                    break
                if extended > limit:
                    return self._fail(at, TOO_BIG, f"a frame of {extended} bytes, {limit} are allowed")
                data[at : at + 4] = SEPARATOR_LONG
            elif head & 0xFF < 126 and head >> 8 in FINAL and self._message is None:
                stop = at + 2 + (head & 0xFF)
                if stop > end:
                    break
                data[at : at + 2] = SEPARATOR_SHORT
            else:
                moved = self._unusual(at, end)
                if moved is None:
                    break
                at, end = moved
                if self.closed:
                    self.buffer.end = at
                    return None
                data, stops = self.buffer.data, self.buffer.stops
                continue
            stops.append(stop)
            at = stop
        else:
            self.frames_wait = end - at >= 2
        if 2 <= end - at < 4 and not self.frames_wait:  # too short for the loop, and perhaps whole: an empty control frame
            moved = self._unusual(at, end)
            if moved is not None:
                at, end = moved
        self._tail, self._tail_until, self.buffer.end = bytearray(), 0, at
        if at < end and not self.closed:
            self._tail += self.buffer.view[at:end]
            self._tail_until = 0 if self.frames_wait else _whole_bytes(self._tail)
        return None

    def _unusual(self, at: int, end: int) -> tuple[int, int] | None:
        """Handle any frame but a whole short message; return (start of the next one, end), or None if the frame is cut."""
        view = self.buffer.view
        first, length = view[at], view[at + 1]
        size, opcode = 2, first & 0x0F
        problem = _header_problem(first, length, opcode, self._message is not None)
        if problem:
            self._fail(at, PROTOCOL_ERROR, problem)
            return at, at
        if length >= 126:
            size = 4 if length == 126 else 10
            if end - at < size:
                return None
            length = int.from_bytes(view[at + 2 : at + size])
        if length > self._max_frame_bytes:
            self._fail(at, TOO_BIG, f"a frame of {length} bytes, {self._max_frame_bytes} are allowed")
            return at, at
        stop = at + size + length
        if stop > end:
            return None
        plain = first & 0x80 and opcode < ABNF.OPCODE_CLOSE and self._message is None
        if not plain and self._too_many_odd():
            self._fail(at, POLICY, f"more than {ODD_PER_S} control frames and parts of messages in a second")
            return at, at
        payload = bytes(view[at + size : stop])
        if opcode >= ABNF.OPCODE_CLOSE:
            self._control(opcode, payload)
            view[at:stop] = b" " * (stop - at)
            return stop, end
        return self._fragment(at, stop, end, payload, bool(first & 0x80))

    def _fragment(self, at: int, stop: int, end: int, payload: bytes, final: bool) -> tuple[int, int]:
        """Remove a part of a message from the array; insert the whole message with its last part."""
        if self._message is None:
            self._message, self._message_bytes, self._message_from = [], 0, at
        if len(self._message) == PARTS_OF_A_MESSAGE:
            self._fail(at, TOO_BIG, f"a message in more than {PARTS_OF_A_MESSAGE} parts")
            return at, at
        self._message.append(payload)
        self._message_bytes += len(payload)
        if self._message_bytes > self._max_frame_bytes:
            self._fail(at, TOO_BIG, f"a message of more than {self._max_frame_bytes} bytes")
            return at, at
        view = self.buffer.view
        view[at:stop] = b" " * (stop - at)
        if not final:
            return stop, end
        text, self._message = b"," + b"".join(self._message), None
        if len(text) <= stop - self._message_from:  # its parts in this read are blanked and leave enough room
            view[stop - len(text) : stop] = text
        else:  # it began in an earlier read, so the data after it has to move
            stop, end = self._insert(at, stop, end, text)
        self.buffer.stops.append(stop)
        return stop, end

    def _insert(self, at: int, stop: int, end: int, text: bytes) -> tuple[int, int]:
        """Replace a frame with `text`, move the data after it, and return the new (stop, end)."""
        buffer = self.buffer
        rest = bytes(buffer.view[stop:end])
        buffer.end = at
        buffer.reserve(len(text) + len(rest) + ROOM_BYTES)
        middle = at + len(text)
        last = middle + len(rest)
        buffer.view[at:middle] = text
        buffer.view[middle:last] = rest
        return middle, last

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == ABNF.OPCODE_PING:
            self._ping = payload
        elif opcode == ABNF.OPCODE_PONG:
            number = payload.removeprefix(self._mark)
            if number != payload and number.isdigit():
                self.answered = int(number)
        elif opcode == ABNF.OPCODE_CLOSE:
            code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            reason = payload[2:].decode("utf-8", "replace")
            self._send(payload[:2], ABNF.OPCODE_CLOSE)
            self._lost(f"closed by the venue: {code} {reason}".rstrip())

    def _too_many_odd(self) -> bool:
        """Count a control frame or a part of a message; return whether there were too many in a second."""
        if not 0 <= self.received_at_ns - self._odd_since_ns < NS_PER_S:
            self._odd, self._odd_since_ns = 0, self.received_at_ns
        self._odd += 1
        return self._odd > ODD_PER_S

    def send_text(self, text: str) -> None:
        """Send one text frame as soon as the kernel takes it."""
        self._send(text.encode(), ABNF.OPCODE_TEXT)

    def send_ping(self, number: int) -> None:
        """Send one protocol ping; its pong sets `answered` to `number`."""
        self._send(self._mark + str(number).encode(), ABNF.OPCODE_PING)

    def _send(self, payload: bytes, opcode: int) -> None:
        self.post(ABNF.create_frame(payload, opcode).format())

    def post(self, data: bytes) -> None:
        """Send bytes through the stream; a broken stream closes the connection."""
        if self.closed:
            return
        try:
            self._flushed = self.stream.post(data)
        except StreamClosed as error:
            self._lost(str(error))
            return
        self._unread = 0 if self._flushed else self._unread + len(data)
        if self._unread > UNREAD_BYTES:
            self._lost(f"the venue does not read: more than {UNREAD_BYTES} bytes wait to be sent")

    def _fail(self, at: int, code: int, reason: str) -> None:
        self.buffer.end, self.frames_wait = at, False
        self.close(reason, code)

    def close(self, reason: str, code: int = 1000) -> None:
        """End the connection with a close frame; every frame that was read is kept."""
        self._split_rest()
        if not self.closed:
            self._send(code.to_bytes(2), ABNF.OPCODE_CLOSE)
            self._lost(reason)

    def _split_rest(self) -> None:
        while self.frames_wait and not self.closed:
            self.sweep(self.received_at_ns)

    def _lost(self, reason: str) -> None:
        self._split_rest()
        if not self.closed:
            self.closed = printable(reason)  # it may contain the venue's own words
            self._on_closed(self.closed)


def _whole_bytes(begun: bytearray) -> int:
    """Return the length of the frame that begins with these bytes, or 0 if it is not known yet."""
    if len(begun) < 2:
        return 0
    length = begun[1] & 0x7F
    if length < 126:
        return 2 + length
    size = 4 if length == 126 else 10
    return size + int.from_bytes(begun[2:size]) if len(begun) >= size else 0


def _header_problem(first: int, length: int, opcode: int, fragmented: bool) -> str:
    """Return why RFC 6455 forbids these first two bytes, or nothing."""
    if first & 0x70:
        return "reserved bits are set, though no extension was agreed on"
    if length & 0x80:
        return "a masked frame from a server"
    if opcode in (ABNF.OPCODE_CLOSE, ABNF.OPCODE_PING, ABNF.OPCODE_PONG):
        return "a control frame that is fragmented or too long" if length > 125 or not first & 0x80 else ""
    if opcode not in (ABNF.OPCODE_CONT, ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY):
        return f"unknown opcode {opcode}"
    if (opcode == ABNF.OPCODE_CONT) != fragmented:
        return "a continuation without a message" if not fragmented else "a new message inside a fragmented one"
    return ""
