"""The server's side of WebSocket, against a client's frames made by websocket-client."""

from __future__ import annotations

import os

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.sim import wire

MESSAGES = st.lists(st.tuples(st.sampled_from([wire.TEXT, wire.BINARY, wire.PING, wire.PONG]),
                              st.binary(max_size=125) | st.binary(min_size=126, max_size=400)), max_size=8)


def client_frame(opcode: int, payload: bytes, final: int = 1) -> bytes:
    frame = websocket.ABNF(final, 0, 0, 0, opcode, 1, payload)
    made: bytes = frame.format()
    return made


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_whole_wherever_the_bytes_are_cut(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    messages = [(opcode, payload[:125] if opcode >= wire.CLOSE else payload) for opcode, payload in messages]
    stream = b"".join(client_frame(opcode, payload) for opcode, payload in messages)
    reader, found, at = wire.ClientFrames(), [], 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        found += reader.feed(stream[at:at + size])
        at += size
    assert found == messages


def test_fragments_are_joined_around_a_control_frame() -> None:
    stream = (client_frame(wire.TEXT, b"ab", 0) + client_frame(wire.PING, b"x")
              + client_frame(wire.CONTINUATION, b"cd", 0) + client_frame(wire.CONTINUATION, b"ef"))
    assert wire.ClientFrames().feed(stream) == [(wire.PING, b"x"), (wire.TEXT, b"abcdef")]


def test_a_long_message_is_read() -> None:
    payload = os.urandom(200_000)
    assert wire.ClientFrames().feed(client_frame(wire.BINARY, payload)) == [(wire.BINARY, payload)]


@pytest.mark.parametrize(("data", "code"), [
    pytest.param(b"\x81\x02hi", 1002, id="not masked"),
    pytest.param(b"\xf1\x80\0\0\0\0", 1002, id="reserved bits"),
    pytest.param(b"\x83\x80\0\0\0\0", 1002, id="reserved opcode"),
    pytest.param(client_frame(wire.CONTINUATION, b"x"), 1002, id="goes on with nothing"),
    pytest.param(client_frame(wire.TEXT, b"x", 0) + client_frame(wire.TEXT, b"y"), 1002, id="begins anew in the middle"),
    pytest.param(b"\x09\x80\0\0\0\0", 1002, id="a ping in fragments"),
    pytest.param(b"\x82\xff\0\0\0\0\x7f\0\0\0\0\0\0\0", 1009, id="too long"),
])
def test_invalid_client_data_is_rejected(data: bytes, code: int) -> None:
    with pytest.raises(wire.ProtocolError) as caught:
        wire.ClientFrames().feed(data)
    assert caught.value.code == code


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_our_frames_are_read_by_websocket_client(size: int) -> None:
    [frame] = wire.frames_of([b"z" * size])
    buffer = bytearray(frame)

    def recv(count: int) -> bytes:
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    read = websocket._abnf.frame_buffer(recv, False).recv_frame()
    assert (read.opcode, bytes(read.data)) == (wire.TEXT, b"z" * size)


def test_a_request_is_read_across_reads_and_leaves_what_follows() -> None:
    parts = [b"POST /a%20b?x=1&y= HT", b"TP/1.1\r\nHost: h\r\nContent-Length: 4\r\n", b"\r\nbo", b"dyGET"]
    left = bytearray()
    request = wire.read_request(lambda: parts.pop(0), left)
    assert request is not None
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a b", {"x": "1", "y": ""}, b"body")
    assert bytes(left) == b"GET"
