"""The greenlet that reads every socket: how much in one turn, in which order, and when it sleeps."""

from __future__ import annotations

import math
import os
import socket

import gevent
import pytest
from websocket import ABNF

from pumpwatch.clock import Clock, FakeClock
from pumpwatch.net.connection import FRAMES_PER_SWEEP, Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.stream import StreamClosed
from pumpwatch.net.sweep import FRAMES_A_READ, FRAMES_A_SWEEP, LAST_READS, SHORTEST_PAUSE_S, Sweep
from pumpwatch.stats import Stats
from tests.net.frame_bytes import frame


class Arriving:
    """A connection on which so many reads find something; `breaks` says in which one it fails, 0 in none."""

    def __init__(self, reads: int, breaks: int = 0) -> None:
        self.left, self.breaks, self.reads = reads, breaks, 0
        self.bytes_read, self.closed, self.name, self.frames_wait = 0, "", "venue#0", False

    def sweep(self, now_ns: int) -> None:
        self.reads += 1
        if self.reads == self.breaks:
            raise OSError("broken")
        self.bytes_read += self.left > 0
        self.left -= 1

    def close(self, reason: str, code: int = 1000) -> None:
        self.closed = reason


class Pipe:
    """A venue's end and ours of one socket pair; ours is a stream as the sweep reads it."""

    def __init__(self) -> None:
        self.venue, self._ours = socket.socketpair()
        self._ours.setblocking(False)

    def fileno(self) -> int:
        return self._ours.fileno()

    def receive(self, target: memoryview, at: int) -> int:
        try:
            return at + self._ours.recv_into(target[at : at + 262_144])
        except BlockingIOError:
            return at

    def post(self, data: bytes) -> bool:
        return True

    def close(self) -> None:
        self.venue.close()
        self._ours.close()


class Reading:
    """A sweep with one connection, and what was split off so far."""

    def __init__(self, max_pending_frames: int = 50_000, sparse_s: float = 0.0) -> None:
        self.stats, self.buffer, self.pipe = Stats(), FrameBuffer("a.spot"), Pipe()
        self.pipe.venue.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.sweep = Sweep(FakeClock(), self.stats, 0.01, 0.001, 1 << 22, max_pending_frames=max_pending_frames,
                           sparse_s=sparse_s)
        self.connection = Connection(self.pipe, self.buffer, 1000, lambda reason: None, "a.spot#0")
        self.sweep.add(self.connection)

    def send(self, payloads: list[bytes]) -> None:
        self.pipe.venue.sendall(b"".join(map(frame, payloads)))

    def take(self) -> list[bytes]:
        taken = self.buffer.take_frames()
        return [taken.payload(number) for number in range(len(taken))] if taken else []


@pytest.fixture
def reading():
    made = Reading()
    yield made
    made.pipe.close()


def drained(connection: Arriving) -> Arriving:
    Sweep(FakeClock(), Stats(), 0.01, 0.001, 1 << 20).drain(connection)  # type: ignore[arg-type]
    return connection


def test_a_connection_is_read_until_nothing_is_there():
    assert drained(Arriving(5)).reads == 6


def test_an_endless_and_a_broken_connection_do_not_delay_the_others():
    assert drained(Arriving(10**6)).reads == LAST_READS
    broken = drained(Arriving(5, breaks=3))
    assert broken.reads == 3 and "broken" in broken.closed


def test_a_read_of_very_many_frames_is_split_over_several_sweeps_in_order(reading):
    sent = [b"%d" % (number % 10) for number in range(25_000)]
    reading.send(sent)
    got: list[bytes] = []
    sizes = []
    for _ in range(4):
        reading.sweep.once()
        split = reading.take()
        sizes.append(len(split))
        got += split
    assert sizes == [FRAMES_PER_SWEEP, FRAMES_PER_SWEEP, 25_000 - 2 * FRAMES_PER_SWEEP, 0] and got == sent


def test_after_many_frames_the_pipeline_has_its_turn_and_the_other_sockets_come_next(reading, monkeypatch):
    monkeypatch.setattr("pumpwatch.net.sweep.MOST_FRAMES_A_SWEEP", 2 * FRAMES_A_SWEEP)
    pipes = [Pipe() for _ in range(4)]
    connections = [Connection(pipe, reading.buffer, 1000, lambda reason: None, "a.spot#1") for pipe in pipes]
    for pipe, connection in zip(pipes, connections, strict=True):
        pipe.venue.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        pipe.venue.sendall(frame(b"2") * FRAMES_A_SWEEP)
        reading.sweep.add(connection)
    reading.send([b"1"])
    sizes = []
    for _ in range(4):
        assert reading.sweep.once() == (len(sizes) < 3)
        sizes.append(len(reading.take()))
        assert reading.sweep._pause_s(0.0, math.inf) == (SHORTEST_PAUSE_S if len(sizes) <= 2 else reading.sweep._pace_s)
    assert sum(sizes) == 4 * FRAMES_A_SWEEP + 1 and max(sizes) <= 2 * FRAMES_A_SWEEP + 1
    for pipe in pipes:
        pipe.close()


def test_floods_of_tiny_frames_do_not_keep_the_other_sockets_from_being_read(reading):
    pipes = [Pipe() for _ in range(2)]
    reading.sweep.once()
    for pipe in pipes:
        pipe.venue.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        pipe.venue.sendall(frame(b"") * 60_000)
        reading.sweep.add(Connection(pipe, FrameBuffer("b.spot"), 1000, lambda reason: None, "b.spot#0"))
    reading.send([b"1"])
    for _ in range(3):
        assert reading.take() == []
        reading.sweep.once()
    assert reading.take() == [b"1"], "each flood was read once before"
    for pipe in pipes:
        pipe.close()


def test_data_after_waiting_frames_is_read_after_them(reading):
    reading.send([b"1"] * (FRAMES_PER_SWEEP + 5))
    reading.sweep.once()
    reading.send([b"2"])
    got = reading.take()
    while not got or got[-1] != b"2":
        reading.sweep.once()
        got += reading.take()
    assert got == [b"1"] * (FRAMES_PER_SWEEP + 5) + [b"2"]


@pytest.mark.parametrize("last", ["drain", "finish"])
def test_the_last_reading_reaches_data_behind_waiting_frames(reading, last):
    reading.send([b"1"] * (FRAMES_PER_SWEEP + 5))
    reading.sweep.once()
    reading.send([b"2"])
    if last == "drain":
        reading.sweep.drain(reading.connection)
    else:
        reading.sweep.finish()
    assert reading.take() == [b"1"] * (FRAMES_PER_SWEEP + 5) + [b"2"]


def test_frames_that_wait_keep_the_time_at_which_they_were_read(reading):
    reading.send([b"1"] * (FRAMES_PER_SWEEP + 5))
    reading.sweep.once()
    read_at_ns = reading.connection.received_at_ns
    reading.take()
    reading.sweep._clock.advance(5.0)
    reading.sweep.once()
    assert reading.buffer.take_frames().received_at(0, 5).tolist() == [read_at_ns] * 5


def test_waiting_frames_are_held_back_until_the_parser_has_taken_the_unparsed_ones():
    made = Reading(max_pending_frames=FRAMES_PER_SWEEP)
    try:
        made.send([b"1"] * (FRAMES_PER_SWEEP + 5))
        made.sweep.once()
        made.sweep.once()
        made.sweep.once()
        assert len(made.buffer.stops) == FRAMES_PER_SWEEP and made.stats.total("net_held_back_total") == 1
        assert len(made.take()) == FRAMES_PER_SWEEP
        made.sweep.once()
        assert len(made.take()) == 5
    finally:
        made.pipe.close()


def test_a_last_read_takes_the_frames_that_wait_too(reading):
    reading.send([b"1"] * (2 * FRAMES_PER_SWEEP + 5))
    reading.sweep.once()
    reading.sweep.drain(reading.connection)
    assert len(reading.take()) == 2 * FRAMES_PER_SWEEP + 5


def test_a_connection_that_is_closed_keeps_the_frames_that_were_read_and_wait(reading):
    reading.send([b"1"] * (2 * FRAMES_PER_SWEEP + 5))
    reading.sweep.once()
    reading.connection.close("given up")
    assert len(reading.take()) == 2 * FRAMES_PER_SWEEP + 5
    reading.sweep.once()
    assert not reading.take()


@pytest.fixture
def running():
    """A sweep that runs by the machine's clock, and how often it has turned."""
    turns: list[int] = []

    def turn() -> float:
        turns.append(1)
        return math.inf

    sweep = Sweep(Clock(), Stats(), 0.002, 0.001, 1 << 22, turn)
    greenlet = gevent.spawn(sweep.run)
    yield sweep, turns
    sweep.stop()
    greenlet.join(5)
    assert greenlet.successful()


def test_a_connection_that_cannot_send_a_pong_keeps_the_frames_that_were_read_and_wait(reading):
    def broken(data: bytes) -> bool:
        raise StreamClosed("broken pipe")

    reading.pipe.post = broken
    reading.pipe.venue.sendall(frame(b"", ABNF.OPCODE_PING))
    reading.send([b"1"] * (2 * FRAMES_PER_SWEEP + 5))
    reading.sweep.once()
    assert reading.connection.closed == "broken pipe"
    assert len(reading.take()) == 2 * FRAMES_PER_SWEEP + 5


def test_the_last_sweep_leaves_no_frame_behind(reading):
    reading.send([b"1"] * (3 * FRAMES_PER_SWEEP))
    reading.sweep.finish()
    assert len(reading.take()) == 3 * FRAMES_PER_SWEEP and not reading.connection.frames_wait


def test_while_nothing_comes_it_sleeps(running):
    _, turns = running
    gevent.sleep(0.1)
    before = len(turns)
    gevent.sleep(0.1)
    assert len(turns) - before <= 2  # 50 at its interval


def test_data_wakes_the_sweep_and_so_does_a_connection_with_frames(running):
    sweep, _ = running
    gevent.sleep(0.02)
    pipe, buffer = Pipe(), FrameBuffer()
    connection = Connection(pipe, buffer, 1000, lambda reason: None)
    os.write(pipe.venue.fileno(), frame(b"1"))
    sweep.add(connection)
    with gevent.Timeout(5):
        while not buffer.stops:
            gevent.sleep(0.001)
        gevent.sleep(0.02)
        os.write(pipe.venue.fileno(), frame(b"2"))
        while len(buffer.stops) < 2:
            gevent.sleep(0.001)
    sweep.remove(connection)
    pipe.close()


def test_sweeps_are_as_rare_as_the_frames_of_a_read_allow_and_a_window_makes_them_quick_all_the_same():
    made = Reading(sparse_s=0.03)
    try:
        pauses = []
        for count in (1, FRAMES_A_READ, 2 * FRAMES_A_READ, 100 * FRAMES_A_READ):
            made.send([b"1"] * count)
            made.sweep.once()
            pauses.append(made.sweep._pause_s(0.002, math.inf))
        made.sweep.hasten(True)
        assert [*pauses, made.sweep._pause_s(0.0, math.inf)] == pytest.approx([0.028, 0.028, 0.013, 0.008, 0.001])
    finally:
        made.pipe.close()


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.0002, 0.0008), (0.002, 0.004), (0.004, 0.006), (0.02, SHORTEST_PAUSE_S)])
def test_quick_sweeps_that_take_long_leave_time_to_others(took_s, pause_s):
    made = Reading()
    try:
        made.sweep.hasten(True)
        assert made.sweep._pause_s(took_s, math.inf) == pytest.approx(pause_s)
    finally:
        made.pipe.close()


@pytest.mark.parametrize("due_s", [0.09, 0.07, 0.031, 0.03, 0.004])
def test_the_sweeps_until_the_parser_wants_one_are_spread_evenly_and_the_last_is_in_its_time(due_s):
    made = Reading(sparse_s=0.03)
    try:
        made.send([b"1"])
        made.sweep.once()
        pause_s = made.sweep._pause_s(0.002, due_s)
        assert pause_s <= 0.028 * 1.2 and due_s / pause_s == pytest.approx(round(due_s / pause_s))
    finally:
        made.pipe.close()


def test_the_last_frames_of_a_connection_that_is_removed_are_handed_to_the_parser_at_once(running):
    sweep, turns = running
    pipe = Pipe()
    connection = Connection(pipe, FrameBuffer(), 1000, lambda reason: None)
    sweep.add(connection)
    gevent.sleep(0.05)
    before = len(turns)
    sweep.remove(connection)
    gevent.sleep(0.05)
    assert len(turns) > before
    pipe.close()
