"""A connection sends, closes, keeps its limits, and writes every record once, in whatever way it ends."""

from __future__ import annotations

import dataclasses

import pytest
import websocket

from pumpwatch.clock import FakeClock
from pumpwatch.sim import wire
from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.ground_truth import PAST, SENT, UNSENT, records_of
from pumpwatch.sim.venue import SimVenue
from tests.sim.fakes import NO_RULES, FakeStream, connect, rows_of, truth_of, venue_of

TEXT, CLOSE, PING, PONG = (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CLOSE, websocket.ABNF.OPCODE_PING,
                           websocket.ABNF.OPCODE_PONG)


def client_frame(opcode: int, payload: bytes) -> bytes:
    made: bytes = websocket.ABNF(1, 0, 0, 0, opcode, 1, payload).format()
    return made


def serving(stream: FakeStream, *sent: bytes) -> None:
    """Let the client send these bytes, then leave."""
    reads = [*sent, b""]
    stream.read = lambda: reads.pop(0) if reads else b""  # type: ignore[attr-defined]


def test_a_subscription_is_answered_and_changes_the_routes() -> None:
    venue = venue_of(FakeClock())
    connection, stream = connect(venue)
    before = venue.routes()
    serving(stream, client_frame(TEXT, b"want AAA"))
    connection.serve(b"")
    assert stream.written == [b"\x81\x02ok"] and connection.session.topics == {"AAA": "AAA"}
    assert venue.routes() is not before and connection.reason == "client went" and venue.connections == {}


def test_earlier_trades_are_sent_and_written_as_past() -> None:
    venue = venue_of(FakeClock())
    venue.history.add(rows_of(1, 2, 3))
    connection, stream = connect(venue)
    serving(stream, client_frame(TEXT, b"past AAA"))
    connection.serve(b"")
    assert truth_of(venue).ids(PAST) == [1, 2, 3] and b'"t":0000003' in stream.written[-1]


def test_pings_are_answered_and_a_close_is_returned() -> None:
    venue = venue_of(FakeClock())
    connection, stream = connect(venue)
    serving(stream, client_frame(PING, b"x"), client_frame(CLOSE, (1000).to_bytes(2, "big")))
    connection.serve(b"")
    assert stream.written == [b"\x8a\x01x", b"\x88\x02\x03\xe8"] and connection.reason == "client closed"


def test_a_deaf_connection_answers_neither() -> None:
    venue = venue_of(FakeClock())
    connection, stream = connect(venue)
    connection.deaf = True
    serving(stream, client_frame(PING, b"x"), client_frame(CLOSE, b""))
    connection.serve(b"")
    assert stream.written == []


def test_a_client_that_sends_too_much_is_closed_with_the_venues_words() -> None:
    venue = venue_of(FakeClock(), rules=dataclasses.replace(NO_RULES, messages_per_second=2))
    connection, stream = connect(venue)
    serving(stream, client_frame(TEXT, b"a") * 3)
    connection.serve(b"")
    assert stream.written[-1] == b"\x88" + bytes([19]) + (1008).to_bytes(2, "big") + b"too many messages"
    assert connection.reason == "closed 1008 too many messages"


def test_text_that_is_not_utf8_closes_with_1007() -> None:
    venue = venue_of(FakeClock())
    connection, stream = connect(venue)
    serving(stream, client_frame(TEXT, b"\xff"))
    connection.serve(b"")
    assert connection.reason == "closed 1007 the text is not UTF-8"


def push(venue: SimVenue, connection: ClientConnection, *ids: int) -> bool:
    rows = rows_of(*ids)
    frames = venue.frames(venue.dialect.encode("plain", rows), "plain")
    return connection.push(frames, records_of(0, rows, connection.number, SENT, 0))


def test_frames_that_the_kernel_takes_later_are_written_then() -> None:
    venue = venue_of(FakeClock())
    connection, stream = connect(venue, stream=FakeStream(room=0))
    stream.room = 60
    assert push(venue, connection, 1, 2) is False and truth_of(venue).records == []
    stream.give_room(1000)
    assert truth_of(venue).ids(SENT) == [1, 2]
    assert push(venue, connection, 3) is True  # the caller writes these


def test_the_end_of_a_connection_records_whole_frames_as_sent_and_the_rest_as_unsent() -> None:
    venue = venue_of(FakeClock())
    connection, stream = connect(venue)
    size = len(venue.frames(venue.dialect.encode("plain", rows_of(1)), "plain")[0]) + 10
    stream.room = 2 * size + 5
    assert push(venue, connection, 1, 2, 3, 4) is False
    connection.drop("cut", abort=True)
    connection.drop("again")
    assert truth_of(venue).ids(SENT) == [1, 2] and truth_of(venue).ids(UNSENT) == [3, 4]
    assert [facts["reason"] for kind, facts in truth_of(venue).events if kind == "down"] == ["cut"] and stream.aborted
    assert push(venue, connection, 5) is False and truth_of(venue).ids(UNSENT) == [3, 4, 5]


@pytest.mark.parametrize(("limit", "seconds", "reason"), [
    ({"client_silence_s": 5}, 6, "client silent"), ({"connection_age_s": 5}, 6, "too old"), ({}, 10_000, "")])
def test_limits_in_time_drop_a_connection(limit: dict[str, float], seconds: float, reason: str) -> None:
    clock = FakeClock()
    venue = venue_of(clock, rules=dataclasses.replace(NO_RULES, **limit))
    connection, _ = connect(venue)
    connection.enforce_time_limits(clock.monotonic() + seconds)
    assert (connection.reason, connection.ended) == (reason, bool(reason))


def test_a_ping_is_due_from_time_to_time_and_its_missing_pong_ends_the_connection() -> None:
    clock = FakeClock()
    venue = venue_of(clock, rules=dataclasses.replace(NO_RULES, ping_every_s=20, pong_within_s=60))
    connection, stream = connect(venue)
    now = clock.monotonic()
    connection.enforce_time_limits(now + 21)
    assert stream.written[0][0] == 0x80 | wire.PING and not connection.ended
    connection.enforce_time_limits(now + 100)
    assert connection.reason == "no pong"


def test_a_close_that_is_not_answered_ends_in_a_drop() -> None:
    clock = FakeClock()
    connection, _ = connect(venue_of(clock))
    connection.close(1001, "bye", linger_s=3)
    connection.enforce_time_limits(clock.monotonic() + 4)
    assert not connection.ended
    connection.enforce_time_limits(clock.monotonic() + 6)
    assert connection.reason == "closed 1001 bye"


def test_the_end_of_a_connections_age_is_announced_and_comes_as_its_venue_does_it() -> None:
    clock = FakeClock()
    rules = dataclasses.replace(NO_RULES, connection_age_s=20.0, age_notice_s=5.0, age_close=(1000, "Bye"))
    venue = venue_of(clock, rules=rules)
    connection, stream = connect(venue)
    for _ in range(2):
        clock.advance(8)
        connection.enforce_time_limits(clock.monotonic())
    assert stream.written == [b"\x81\x07closing"], "announced once, 4 s before its end"
    clock.advance(5)
    connection.enforce_time_limits(clock.monotonic())
    connection.enforce_time_limits(clock.monotonic())
    assert stream.written[1:] == [b"\x88\x05\x03\xe8Bye"] and not connection.ended
    clock.advance(3)
    connection.enforce_time_limits(clock.monotonic())
    assert connection.ended and connection.reason == "closed 1000 Bye"
