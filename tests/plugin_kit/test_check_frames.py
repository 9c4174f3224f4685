"""A parser with one mistake fails in the row that is about the mistake."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.model import Columns, Control, ControlKind
from pumpwatch.net.frames import NoSource
from pumpwatch.plugin_kit.check_frames import FrameReader, check_frames, joined
from pumpwatch.plugin_kit.sandbox import attempt
from tests.plugin_kit.good_venue import FRAMES, SPOT, TRADE, changed, failures, results, samples_of


def opens_a_socket(text: Any, columns: Columns) -> None:
    socket.socket().close()
    SPOT.parse(text, columns)


def reads_a_file(text: Any, columns: Columns) -> None:
    with Path(__file__).open():
        SPOT.parse(text, columns)


def prints(text: Any, columns: Columns) -> None:
    print("trades", len(text))
    SPOT.parse(text, columns)


def counting() -> Callable[[Any, Columns], None]:
    calls: list[int] = []

    def parse(text: Any, columns: Columns) -> None:
        SPOT.parse(text, columns)
        calls.append(1)
        columns.trade_id = [len(calls) for _ in columns.trade_id]  # type: ignore[assignment]

    return parse


def changes_its_input(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    if isinstance(text, memoryview) and not text.readonly:
        text[1] = 0x20


SHARED: list[str] = []


def shares_a_list(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    SHARED[:] = columns.symbol
    columns.symbol = SHARED


def only_the_first(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.price = [columns.price[0]] * len(columns.price)


def wrong_counts(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.counts = [2]


def ids_as_text(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.trade_id = [str(number) for number in columns.trade_id]


def raises_a_runtime_error(text: Any, columns: Columns) -> None:
    try:
        SPOT.parse(text, columns)
    except ValueError as error:
        raise RuntimeError("bad frame") from error


def swallows(text: Any, columns: Columns) -> None:
    if attempt(SPOT.parse, text, columns).error is not None:
        columns.counts = [0]


@pytest.mark.parametrize(("parse", "check", "says"), [
    (opens_a_socket, "parse is pure", "has side effects: socket."),
    (reads_a_file, "parse is pure", "has side effects: "),
    (prints, "parse is pure", "print 'trades"),
    (counting(), "parse is pure", "different columns for the same frames"),
    (changes_its_input, "parse is pure", "changes its input"),
    (shares_a_list, "parse is pure", "already returned"),
    (only_the_first, "columns agree", ""),
    (wrong_counts, "columns agree", "counts differ"),
    (ids_as_text, "columns agree", "must be integers"),
    (raises_a_runtime_error, "parse refuses what it must", "RuntimeError: bad frame (test_check_frames.py:"),
    (swallows, "no frame vanishes", "neither trade, control nor refused"),
])
def test_a_parser_with_one_mistake_fails_where_it_is_made(parse: Any, check: str, says: str) -> None:
    venue = changed(parse=parse)
    found = failures(check_frames(venue, samples_of(venue, [*FRAMES, TRADE.replace(b"97000.5", b"1.5") % 5])))
    assert says in found.get(check, "(no failure)"), found


def test_a_good_venue_has_no_failure_and_a_speed() -> None:
    found = results(check_frames(SPOT, samples_of()))
    assert "fail" not in {state for state, _ in found.values()}
    assert " µs per trade" in found["speed: one trade a frame"][1]


def test_without_frames_a_warning_says_that_trades_were_not_checked() -> None:
    found = results(check_frames(SPOT, samples_of(frames=[])))
    state, detail = found["frames"]
    assert state == "warn" and detail.startswith("trades were not checked: no simulator plugin speaks the protocol")
    assert "fail" not in {state for state, _ in found.values()}


def test_a_read_control_that_breaks_is_named() -> None:
    def read_control(frame: bytes) -> Control:
        raise OSError("no")

    found = failures(check_frames(changed(read_control=read_control), samples_of()))
    assert "read_control raises OSError" in found["parse refuses what it must"]


def test_a_read_control_that_knows_every_frame_is_named() -> None:
    venue = changed(read_control=lambda frame: SPOT.read_control(frame) or Control(ControlKind.OTHER))
    assert "as other" in failures(check_frames(venue, samples_of()))["unknown frames are reported"]


def test_a_recorded_frame_that_is_neither_trade_nor_control_fails() -> None:
    found = failures(check_frames(SPOT, samples_of(frames=[*FRAMES, b'{"e":"somethingNew"}'])))
    assert found["frames are understood"] == 'neither trade nor control: {"e":"somethingNew"}'


def test_a_recorded_trade_with_an_impossible_time_is_worth_a_warning() -> None:
    late = (TRADE % 5).replace(b'"T":1732186800120', b'"T":123456789')
    state, detail = results(check_frames(SPOT, samples_of(frames=[*FRAMES, late])))["frames are understood"]
    assert state == "warn" and "a time out of range" in detail


def test_a_small_number_may_be_written_with_an_exponent() -> None:
    small = [frame.replace(b'"0.01"', b'"5.7e-05"') for frame in FRAMES]
    assert failures(check_frames(SPOT, samples_of(frames=small))) == {}


def test_frames_of_two_protocols_may_be_in_one_recording() -> None:
    wrapped = [b'{"stream":"btcusdt@trade","data":%s}' % frame for frame in FRAMES[:20]]
    assert failures(check_frames(SPOT, samples_of(frames=[*FRAMES, *wrapped]))) == {}


def test_the_reader_counts_trades_control_and_quarantined_frames() -> None:
    reader = FrameReader(SPOT)
    reader.add_symbols(FRAMES)
    read = reader.read([FRAMES[0], b'{"result":null,"id":7}', b"garbage"])
    assert (read.rows, read.controls, read.refused) == (1, 1, 1)
    assert len(joined([b"{}", b"[]"], NoSource())) == 2
