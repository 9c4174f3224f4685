"""Each fault on frames changes what is sent, and the ground truth has every trade with its state."""

from __future__ import annotations

from typing import Any

from pumpwatch.clock import FakeClock
from pumpwatch.sim import wire
from pumpwatch.sim.frame_faults import FrameFaults
from pumpwatch.sim.ground_truth import DOUBLED, SENT, SPOILT, UNSENT, WITHHELD, Records, records_of
from tests.sim.fakes import KeptTruth, encode, rows_of


class Fixture:
    """Faults with frames of three trades to be sent."""

    def __init__(self) -> None:
        self.clock, self.truth = FakeClock(), KeptTruth()
        self.faults = FrameFaults(self.clock, self.truth)
        self.frames = wire.frames_of(encode("plain", rows_of(1, 2, 3)))

    def apply(self) -> tuple[list[Any], Records, list[int]]:
        return self.faults.apply(self.frames, records_of(0, rows_of(1, 2, 3), 1, SENT, 0), None)


def test_dropped_frames_are_withheld_and_the_fault_is_over() -> None:
    fixture = Fixture()
    fixture.faults.remaining["drop"] = 2
    frames, records, counts = fixture.apply()
    assert (frames, records["trade_id"].tolist(), counts) == (fixture.frames[2:], [3], [1])
    assert fixture.truth.ids(WITHHELD) == [1, 2] and fixture.faults.over


def test_doubled_frames_follow_their_originals() -> None:
    fixture = Fixture()
    fixture.faults.remaining["double"] = 1
    frames, records, _ = fixture.apply()
    assert frames == [fixture.frames[0], *fixture.frames] and records["state"].tolist() == [SENT, DOUBLED, SENT, SENT]


def test_reordered_frames_are_held_until_enough_have_come() -> None:
    fixture = Fixture()
    fixture.faults.remaining["reorder"] = 4
    assert fixture.apply()[0] == [] and not fixture.faults.over
    frames, records, _ = fixture.apply()
    assert records["trade_id"].tolist() == [1, 3, 2, 1, 2, 3] and frames[0] == fixture.frames[0] and fixture.faults.over


def test_held_frames_are_unsent_when_the_connection_ends() -> None:
    fixture = Fixture()
    fixture.faults.remaining["reorder"] = 4
    fixture.apply()
    fixture.faults.release()
    assert fixture.truth.ids(UNSENT) == [1, 2, 3]


def test_a_spoilt_frame_is_cut_inside_its_websocket_frame() -> None:
    fixture = Fixture()
    fixture.faults.remaining["spoil"] = 1
    frames, records, _ = fixture.apply()
    payload = fixture.frames[0][2:]
    assert frames[0] == wire.head(len(payload) // 2) + payload[:len(payload) // 2]
    assert records["state"].tolist() == [SPOILT, SENT, SENT]


def test_fragments_join_to_the_frame_around_a_pong() -> None:
    fixture = Fixture()
    fixture.faults.remaining["fragment"] = 1
    data, parts = fixture.apply()[0][0], []
    while data:
        size = data[1]
        parts.append((data[0], data[2:2 + size]))
        data = data[2 + size:]
    assert [first for first, _ in parts] == [wire.TEXT, wire.CONTINUATION, 0x80 | wire.PONG, 0x80 | wire.CONTINUATION]
    assert b"".join(payload for first, payload in parts if first != 0x80 | wire.PONG) == fixture.frames[0][2:]


def test_silence_and_mute_withhold_trades_until_their_time() -> None:
    fixture = Fixture()
    fixture.faults.silent_until = fixture.clock.monotonic() + 5
    assert fixture.apply()[0] == [] and not fixture.faults.over
    fixture.clock.advance(6)
    fixture.faults.muted_until[0] = fixture.clock.monotonic() + 5
    assert fixture.apply()[0] == [] and fixture.truth.ids(WITHHELD) == [1, 2, 3, 1, 2, 3]
    fixture.clock.advance(6)
    assert fixture.apply()[0] == fixture.frames and fixture.faults.over
