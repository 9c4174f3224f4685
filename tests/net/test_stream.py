"""A stream over a real socket pair: blocking under an allowance first, then non-blocking for the sweep."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pumpwatch.net.allowance import Overdue, ReadAllowance, TooMuch
from pumpwatch.net.stream import ROOM_BYTES, PlainStream, StreamClosed


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, PlainStream]]:
    """Return the venue's socket, and our stream."""
    venue, ours = socket.socketpair()
    stream = PlainStream(ours, ReadAllowance(5.0))
    stream.allowance.begin("its answer", 1000)
    yield venue, stream
    venue.close()
    stream.close()


def received(stream: PlainStream) -> bytes:
    target = bytearray(ROOM_BYTES + 3)
    end = stream.receive(memoryview(target), 3)
    return bytes(target[3:end])


def test_data_that_was_put_back_is_read_first_before_and_after_the_release(ends) -> None:
    venue, stream = ends
    venue.sendall(b"head|rest")
    assert stream.recv(1000) == b"head|rest"
    stream.unread(b"|rest")
    assert stream.recv(1) == b"|"
    venue.sendall(b" more")
    stream.release()
    assert received(stream) == b"rest" and received(stream) == b" more" and received(stream) == b""


def test_more_bytes_than_the_allowance_and_a_peer_that_says_nothing_are_errors(ends) -> None:
    venue, stream = ends
    venue.sendall(b"x" * 1001)
    with pytest.raises(TooMuch):
        stream.recv(2000)
    stream.allowance = ReadAllowance(0.01)
    with pytest.raises(Overdue):
        stream.recv(1)


def test_it_is_idle_only_while_it_is_open_and_nothing_waits_to_be_read(ends) -> None:
    venue, stream = ends
    assert stream.idle()
    stream.unread(b"x")
    assert not stream.idle()
    assert stream.recv(1) == b"x" and stream.idle()
    venue.sendall(b"y")
    assert not stream.idle()
    stream.recv(1)
    venue.close()
    assert not stream.idle()


def test_a_post_that_the_kernel_has_no_room_for_is_sent_later_and_in_order(ends) -> None:
    venue, stream = ends
    stream.release()
    data = b"0123456789" * 100_000
    assert not stream.post(data)
    got = b""
    while len(got) < len(data):
        got += venue.recv(1 << 20)
        flushed = stream.post(b"")
    assert got == data and flushed


def test_the_end_of_a_connection_comes_after_all_data(ends) -> None:
    venue, stream = ends
    stream.release()
    venue.sendall(b"last")
    venue.close()
    assert received(stream) == b"last"
    with pytest.raises(StreamClosed, match="closed by the other side"):
        received(stream)
    with pytest.raises(StreamClosed, match="connection broken"):
        stream.post(b"x")
