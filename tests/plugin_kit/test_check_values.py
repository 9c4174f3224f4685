"""Impossible values never become a trade, and a number that is only spelt differently is the same trade."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.phemex import VENUES as PHEMEX

from pumpwatch.errors import BadFrame
from pumpwatch.model import Columns, Control, ControlKind
from pumpwatch.plugin_kit.check_values import check_values, cut_to_one, impossible_frames, places_of
from tests.plugin_kit.good_venue import FRAMES, SPOT, TRADE, changed, failures, results, samples_of


def takes_any_sign(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.price = [abs(price) for price in columns.price]


def takes_seconds(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.timestamp = [at * 1000 if at < 10**10 else at for at in columns.timestamp]


def forgets_the_id(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.trade_id = [7 for _ in columns.trade_id]


def rejects_an_additional_field(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    if any("additional" in frame for frame in json.loads(bytes(text))):
        raise BadFrame("an additional field")


def misreads_exponents(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    if b"E+4" in bytes(text):
        columns.price = [price / 10_000 for price in columns.price]


@pytest.mark.parametrize(("parse", "check", "says"), [
    (takes_any_sign, "impossible values are refused", "price: negative: "),
    (takes_seconds, "impossible values are refused", "timestamp: of 1,000 times the unit: "),
    (forgets_the_id, "impossible values are refused", "no field of a frame sets trade_id"),
    (rejects_an_additional_field, "other spellings mean the same", "an additional field changes the trade"),
    (misreads_exponents, "other spellings mean the same", "price as 9.70005E+4: "),
])
def test_a_parser_with_one_mistake_fails_where_it_is_made(parse: Any, check: str, says: str) -> None:
    venue = changed(parse=parse)
    found = failures(check_values(venue, samples_of(venue)))
    assert says in found.get(check, "(no failure)"), found


def test_a_read_control_that_hides_impossible_trades_is_named() -> None:
    venue = changed(read_control=lambda frame: SPOT.read_control(frame) or Control(ControlKind.OTHER))
    assert "so it vanishes" in failures(check_values(venue, samples_of(venue)))["impossible values are refused"]


def test_a_snapshot_of_several_rows_is_cut_to_one_and_a_good_parser_passes() -> None:
    phemex = PHEMEX[0]
    trades = [[1_700_000_000_000_000_000 + number, "Buy", 100_000_000 + number, 1_000_000] for number in range(5)]
    frame = json.dumps({"symbol": "sBTCUSDT", "trades": trades[::-1], "type": "snapshot", "sequence": 7}).encode()
    assert len(json.loads(cut_to_one(phemex, frame))["trades"]) == 1
    assert results(check_values(phemex, samples_of(phemex, [frame])))["impossible values are refused"][0] == "ok"


def test_without_a_frame_there_is_nothing_to_make_values_of() -> None:
    assert check_values(SPOT, samples_of(frames=[])) == []


def test_the_place_of_each_column_is_found_in_a_frame() -> None:
    assert places_of(SPOT, FRAMES[0]) == {
        ("s",): "symbol", ("t",): "trade_id", ("p",): "price", ("q",): "quantity", ("T",): "timestamp"}
    named = dict(impossible_frames(SPOT, TRADE % 7))
    assert b'"p":-1,' in named["price: negative"] and b'"p"' not in named["price: left out"]
