"""A venue delivers each trade to the connections that subscribed to it, and answers handshakes and REST."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.sim import wire
from pumpwatch.sim.ground_truth import NO_SUBSCRIBER, SENT
from pumpwatch.sim.http_messages import HttpReply
from pumpwatch.sim.rows import Rows
from pumpwatch.sim.venue import RecordedPayloads
from tests.sim.fakes import DIALECT, NO_RULES, FakeStream, connect, encode, rows_of, truth_of, upgrade_request, venue_of


def test_a_trade_goes_to_every_subscriber_and_is_written_once_for_each() -> None:
    venue = venue_of(FakeClock())
    _, first = connect(venue, "AAA")
    _, second = connect(venue, "AAA", "BBB", number=2)
    venue.deliver(Rows.concat([rows_of(1), rows_of(7, symbol=1), rows_of(2)]))
    assert [len(stream.written) for stream in (first, second)] == [2, 3]
    assert sorted(truth_of(venue).ids(SENT)) == [1, 1, 2, 2, 7] and venue.made == 3


def test_a_trade_without_a_subscriber_uses_up_its_id_and_is_in_the_history() -> None:
    venue = venue_of(FakeClock())
    connect(venue, "BBB")
    venue.deliver(rows_of(1, 2))
    assert truth_of(venue).ids(NO_SUBSCRIBER) == [1, 2]
    assert venue.history.recent(0, 5).trade_id.tolist() == [1, 2]


def test_runs_of_a_symbol_share_frames_if_the_venue_groups_trades() -> None:
    grouped = dataclasses.replace(DIALECT, trades_per_frame=2, encode=lambda form, rows: [b"|".join(encode(form, rows))])
    venue = venue_of(FakeClock(), grouped)
    _, stream = connect(venue, "AAA", "BBB")
    venue.deliver(Rows.concat([rows_of(1, 2, 3), rows_of(4, symbol=1)]))
    assert [frame.count(b'"s"') for frame in stream.written] == [2, 1, 1]


def test_recorded_frames_are_reframed_for_their_connection() -> None:
    venue = venue_of(FakeClock())
    _, stream = connect(venue, "AAA")
    venue.deliver(rows_of(1, 2), RecordedPayloads([b"both"], np.array([0, 0])))
    assert stream.written == wire.frames_of([b"again both"]) and truth_of(venue).ids(SENT) == [1, 2]


def test_a_client_too_far_behind_is_cut_off() -> None:
    venue = venue_of(FakeClock(), backlog_bytes=10)
    connection, stream = connect(venue, "AAA")
    stream.room = 0
    venue.deliver(rows_of(1))
    assert (connection.reason, stream.aborted, venue.connections) == ("client too slow", True, {})


def test_a_connection_that_is_closing_gets_no_trades() -> None:
    venue = venue_of(FakeClock())
    connection, stream = connect(venue, "AAA")
    connection.close(1001, "bye")
    venue.deliver(rows_of(1))
    assert len(stream.written) == 1 and truth_of(venue).ids(NO_SUBSCRIBER) == [1]


@pytest.mark.parametrize(("facts", "status"), [({"connections": 1}, 403), ({"connects_per_second": 1}, 429)])
def test_a_connection_beyond_a_limit_is_rejected(facts: dict[str, int], status: int) -> None:
    venue = venue_of(FakeClock(), rules=dataclasses.replace(NO_RULES, **facts))
    connect(venue)
    rejected = venue.connect(FakeStream(), upgrade_request(), 2)  # type: ignore[arg-type]
    assert isinstance(rejected, HttpReply) and rejected.status == status
    assert [kind for kind, _ in truth_of(venue).events] == ["up", "refused"]


def test_a_request_that_is_not_a_handshake_leaves_no_connection() -> None:
    venue, request = venue_of(FakeClock()), upgrade_request()
    request.headers["sec-websocket-version"] = "8"
    with pytest.raises(wire.ProtocolError):
        venue.connect(FakeStream(), request, 1)  # type: ignore[arg-type]
    assert venue.connections == {}


def test_rest_is_answered_by_the_dialect_unless_a_fault_is_active() -> None:
    clock = FakeClock()
    venue = venue_of(clock)
    request = wire.ClientRequest("GET", "/rest/list", {}, b"")
    assert venue.rest(request, "a").body == b'["AAA", "BBB"]'
    venue.faults.rest_until, venue.faults.rest_status = clock.monotonic() + 5, 503
    assert venue.rest(request, "a").status == 503
    venue.faults.rest_form, venue.faults.rest_symbol = "without", "AAA"
    assert venue.rest(request, "a").body == b'["BBB"]'
    venue.faults.rest_path = "/history"
    assert venue.rest(request, "a").body == b'["AAA", "BBB"]', "the fault is about another path"
    venue.faults.rest_path = ""
    clock.advance(6)
    assert venue.rest(request, "a").body == b'["AAA", "BBB"]'


def test_a_request_that_hangs_is_answered_when_the_fault_is_over() -> None:
    clock = FakeClock()
    venue = venue_of(clock)
    venue.faults.rest_until, venue.faults.rest_form = clock.monotonic() + 0.01, "hang"
    assert venue.rest(wire.ClientRequest("GET", "/rest/list", {}, b""), "a").body == b'["AAA", "BBB"]'
