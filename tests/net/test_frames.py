"""The frame buffer of a venue, filled by its connections and taken by the parser."""

from __future__ import annotations

from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer, NoSource
from tests.net.frame_bytes import ScriptedStream, frame


def test_frames_remember_when_and_from_whom_they_came():
    buffer = FrameBuffer()
    first, second = NoSource(), NoSource()
    one = Connection(ScriptedStream([frame(b"1") + frame(b"2"), frame(b"5")]), buffer, 1000, lambda reason: None, source=first)
    two = Connection(ScriptedStream([frame(b"3") + frame(b"4")]), buffer, 1000, lambda reason: None, source=second)
    one.sweep(100)
    two.sweep(200)
    one.sweep(300)
    frames = buffer.take_frames()
    assert bytes(frames.text).replace(b" ", b"") == b"[1,2,3,4,5]"
    assert frames.received_at(0, 5).tolist() == [100, 100, 200, 200, 300]
    assert frames.received_at(1, 4).tolist() == [100, 200, 200]
    assert bytes(frames.array(1, 4)).replace(b" ", b"") == b"[2,3,4]"
    assert [frames.source(index) for index in range(5)] == [first, first, second, second, first]
    assert frames.source_numbers(1, 4).tolist() == [first.source_number, second.source_number, second.source_number]


def test_the_number_of_a_source_is_never_used_again():
    numbers = [NoSource().source_number for _ in range(1000)]  # each is freed before the next is made
    assert len(set(numbers)) == 1000 and 0 not in numbers


def test_the_buffer_grows_and_is_used_again():
    buffer = FrameBuffer()
    payload = b'"' + b"y" * 60_000 + b'"'
    stream = ScriptedStream([frame(payload) * 4] * 12)
    connection = Connection(stream, buffer, 1 << 20, lambda reason: None)
    for _ in range(11):
        connection.sweep(1)
    assert len(buffer.take_frames()) == 44
    connection.sweep(2)
    assert len(buffer.take_frames()) == 4


def test_taken_frames_are_not_overwritten_by_later_reads():
    buffer = FrameBuffer()
    connection = Connection(ScriptedStream([frame(b"1"), frame(b"2"), frame(b"3")]), buffer, 1000, lambda reason: None)
    connection.sweep(1)
    first = buffer.take_frames()
    connection.sweep(2)
    assert bytes(first.text).replace(b" ", b"") == b"[1]"
    second = buffer.take_frames()
    connection.sweep(3)
    assert bytes(second.text).replace(b" ", b"") == b"[2]"


def test_the_buffer_holds_the_frames_of_a_source_until_they_are_parsed():
    buffer = FrameBuffer()
    first, second = (Connection(ScriptedStream([frame(b"1")]), buffer, 1000, lambda reason: None) for _ in range(2))
    first.sweep(1)
    assert buffer.holds(first.source) and not buffer.holds(second.source)
    buffer.take_frames()
    second.sweep(2)
    assert buffer.holds(first.source) and buffer.holds(second.source)
    buffer.release_frames()
    assert not buffer.holds(first.source) and buffer.holds(second.source)
