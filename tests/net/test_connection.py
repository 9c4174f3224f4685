"""A connection reads the same from the bytes that arrive as websocket-client's own reader."""

from __future__ import annotations

import itertools
import struct

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st
from websocket import ABNF

from pumpwatch.clock import NS_PER_S
from pumpwatch.net.connection import ODD_PER_S, PARTS_OF_A_MESSAGE, UNREAD_BYTES, Connection
from pumpwatch.net.frames import FrameBuffer
from tests.net.frame_bytes import ScriptedStream, frame


class ScriptedSocket:
    """The same bytes for websocket-client."""

    def __init__(self, data):
        self.data = data

    def recv(self, size):
        data, self.data = self.data[:size], self.data[size:]
        return data

    def gettimeout(self):
        return 1.0

    def settimeout(self, seconds):
        pass

    def send(self, data):
        return len(data)

    def close(self):
        pass

    def fileno(self):
        return -1


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def read_all(chunks, max_frame_bytes=1 << 20, take_every=0):
    """Sweep until the script ends; return the payloads, the reason of the close, and what was sent."""
    reasons: list[str] = []
    buffer = FrameBuffer()
    stream = ScriptedStream(chunks)
    connection = Connection(stream, buffer, max_frame_bytes, reasons.append)
    payloads: list[bytes] = []
    turn = 0
    while not connection.closed:
        turn += 1
        connection.sweep(turn)
        if (take_every and turn % take_every == 0) or connection.closed:
            taken = buffer.take_frames()
            if taken:
                assert bytes(taken.text[:1]) == b"[" and bytes(taken.text[-1:]) == b"]"
                payloads += [taken.payload(i) for i in range(len(taken))]
                assert len(taken.received_at(0, len(taken))) == len(taken)
    return payloads, reasons, stream.sent


def read_with_websocket_client(data: bytes) -> list[bytes]:
    peer = websocket.WebSocket()
    peer.sock = ScriptedSocket(data)
    peer.connected = True
    payloads = []
    try:
        while True:
            opcode, payload = peer.recv_data(control_frame=False)
            if opcode == ABNF.OPCODE_CLOSE:
                break
            payloads.append(payload)
    except websocket.WebSocketConnectionClosedException:
        pass
    return payloads


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=200).map(lambda text: b'"' + text.encode() + b'"')
messages = st.one_of(
    st.tuples(st.just("text"), texts, st.sampled_from([0, 126, 127])),
    st.tuples(st.just("fragments"), st.lists(texts, min_size=2, max_size=4), st.booleans()),
    st.tuples(st.just("ping"), st.binary(max_size=125), st.just(0)),
    st.tuples(st.just("pong"), st.binary(max_size=125), st.just(0)),
)


def encode(message) -> bytes:
    kind, body, extra = message
    if kind == "text":
        return frame(body, length_as=extra)
    if kind == "fragments":
        parts = [frame(part, ABNF.OPCODE_TEXT if i == 0 else ABNF.OPCODE_CONT, i == len(body) - 1)
                 for i, part in enumerate(body)]
        between = frame(b"x", ABNF.OPCODE_PING) if extra else b""
        return between.join(parts)
    return frame(body, ABNF.OPCODE_PING if kind == "ping" else ABNF.OPCODE_PONG)


@given(st.lists(messages, max_size=12), st.lists(st.integers(0, 10_000), max_size=20), st.integers(0, 3))
def test_it_reads_the_same_as_websocket_client_for_any_cut_of_the_bytes(script, places, take_every):
    data = b"".join(map(encode, script))
    ours, reasons, _ = read_all(cut(data, places) if data else [], take_every=take_every)
    assert ours == [payload.lstrip(b" ") for payload in read_with_websocket_client(data)]
    assert reasons == ["script ended"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_arbitrary_bytes_never_crash_it(data, places):
    read_all(cut(data, places) if data else [])


def test_every_length_around_the_encodings_is_read():
    for size in (0, 1, 2, 3, 4, 125, 126, 127, 65_535, 65_536, 70_000):
        payload = b"x" * size
        payloads, _, _ = read_all([frame(payload) + frame(b"1")])
        assert payloads == [payload, b"1"], size


def test_a_ping_is_answered_with_its_payload():
    _, _, sent = read_all([frame(b"hello", ABNF.OPCODE_PING)])
    assert sent[:2] == b"\x8a\x85"
    key, masked = sent[2:6], sent[6:11]
    assert bytes(a ^ b for a, b in zip(masked, (key * 2)[:5], strict=True)) == b"hello"


def test_a_close_frame_gives_its_code_and_is_answered():
    payloads, reasons, sent = read_all([frame(b"1") + frame(struct.pack(">H", 1008) + b"Too many requests", ABNF.OPCODE_CLOSE)
                                        + frame(b"2")])
    assert payloads == [b"1"]
    assert reasons == ["closed by the venue: 1008 Too many requests"]
    assert sent[0] == 0x88


@pytest.mark.parametrize(("data", "reason"), [
    (b"\x81\x85abcdhello", "masked"),
    (b"\xc1\x02{}", "reserved bits"),
    (b"\x83\x02{}", "unknown opcode 3"),
    (frame(b"x", ABNF.OPCODE_CONT), "a continuation without a message"),
    (frame(b"x", ABNF.OPCODE_TEXT, final=False) + frame(b"y"), "inside a fragmented one"),
    (b"\x09\x00\x00\x00", "a control frame that is fragmented"),
    (frame(b"x" * 2000), "a frame of 2000 bytes"),
    (frame(b"x" * 600, final=False) + frame(b"x" * 600, ABNF.OPCODE_CONT), "a message of more than 1000"),
])
def test_a_protocol_error_ends_the_connection_and_keeps_earlier_frames(data, reason):
    payloads, reasons, sent = read_all([frame(b'"before"') + data], max_frame_bytes=1000)
    assert payloads == [b'"before"']
    assert len(reasons) == 1 and reason in reasons[0]
    assert sent[0] == 0x88


def test_many_pings_cost_one_answer_a_read_and_a_message_in_many_parts_is_one():
    pings = frame(b"a", ABNF.OPCODE_PING) * (ODD_PER_S - 1) + frame(b"newest", ABNF.OPCODE_PING)
    payloads, _, sent = read_all([pings + frame(b"1")])
    assert payloads == [b"1"] and len(sent) == 2 + 4 + 6
    parts = PARTS_OF_A_MESSAGE - 2
    fragments = frame(b"x", final=False) + frame(b"y", ABNF.OPCODE_CONT, final=False) * parts + frame(b"z", ABNF.OPCODE_CONT)
    payloads, _, _ = read_all([fragments + frame(b"1")])
    assert payloads == [b"x" + b"y" * parts + b"z", b"1"]
    payloads, _, _ = read_all([(frame(b"x", final=False) + frame(b"y", ABNF.OPCODE_CONT)) * (ODD_PER_S // 2)])
    assert payloads == [b"xy"] * (ODD_PER_S // 2)


@pytest.mark.parametrize(("flood", "reason"), [
    (frame(b"x", final=False) + frame(b"", ABNF.OPCODE_CONT, final=False) * PARTS_OF_A_MESSAGE, "in more than 4096 parts"),
    (frame(b"", final=False) + frame(b"y", ABNF.OPCODE_CONT, final=False) * PARTS_OF_A_MESSAGE, "in more than 4096 parts"),
    (frame(b"", ABNF.OPCODE_PING) * (ODD_PER_S + 1), "more than 10000 control frames and parts of messages in a second"),
    (frame(b"late", ABNF.OPCODE_PONG) * (ODD_PER_S + 1), "more than 10000 control frames and parts of messages in a second"),
    ((frame(b"1", final=False) + frame(b"", ABNF.OPCODE_CONT)) * ODD_PER_S, "parts of messages in a second"),
])
def test_a_flood_of_useless_frames_ends_the_connection_with_a_reason(flood, reason):
    payloads, reasons, _ = read_all([frame(b"before") + flood[:200_000], flood[200_000:], frame(b"after")])
    assert payloads[0] == b"before" and b"after" not in payloads
    assert len(reasons) == 1 and reason in reasons[0]


def test_control_frames_spread_over_seconds_are_not_a_flood():
    buffer = FrameBuffer()
    pings = frame(b"", ABNF.OPCODE_PING) * (ODD_PER_S // 2)
    connection = Connection(ScriptedStream([pings] * 20), buffer, 1000, lambda reason: None)
    for second in range(20):
        connection.sweep(second * NS_PER_S)
    assert connection.closed == ""


def test_a_large_frame_that_drips_in_is_put_together_once():
    payload = b'"' + b"x" * 300_000 + b'"'
    data = frame(b"1") + frame(payload) + frame(b"2")
    payloads, _, _ = read_all([data[at : at + 700] for at in range(0, len(data), 700)], take_every=3)
    assert payloads == [b"1", payload, b"2"]


class Deaf(ScriptedStream):
    """A venue that sends and never reads."""

    def post(self, data):
        self.sent += data
        return False


def test_a_venue_that_never_reads_is_left_when_too_much_waits_to_be_sent():
    stream = Deaf([frame(b"p" * 125, ABNF.OPCODE_PING)] * 20_000)
    connection = Connection(stream, FrameBuffer(), 1000, lambda reason: None)
    for second in range(20_000):
        if not connection.closed:
            connection.sweep(second * NS_PER_S)
    assert "does not read" in connection.closed
    assert len(stream.sent) < 2 * UNREAD_BYTES


def test_a_close_reason_cannot_forge_a_line_nor_steer_a_terminal():
    forged = b"bye\r\n2026-11-21 ERROR all is lost \x1b[2J\xe2\x80\xae\xff"
    _, (reason,), _ = read_all([frame(struct.pack(">H", 1008) + forged, ABNF.OPCODE_CLOSE)])
    assert reason == r"closed by the venue: 1008 bye\r\n2026-11-21 ERROR all is lost \x1b[2J\u202e" + "\ufffd"
    assert reason.isprintable()
