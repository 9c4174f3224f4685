"""Recorded answers show mistakes that no simulator shows, each in the row that is about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pumpwatch_plugins.simulators.binance import SPOT_DIALECT

from pumpwatch.errors import UsageError
from pumpwatch.model import Columns, Instrument
from pumpwatch.plugin_kit.check_recorded import RecordedFrames, check_recorded, history_body, read_body
from pumpwatch.plugin_kit.samples import HistoryBody, gather
from pumpwatch.venue import HistoryDepth, Venue
from tests.plugin_kit.good_venue import LIST, SPOT, changed, frames, history, results, samples_of


def rows(venue: Venue = SPOT, seen: Sequence[bytes] | None = None, instruments: Sequence[bytes] = (),
         histories: Mapping[str, bytes] | None = None) -> dict[str, tuple[str, str]]:
    return results(check_recorded(venue, samples_of(venue, frames() if seen is None else seen, instruments, histories)))


def page_of(count: int) -> Venue:
    """Return a venue whose history answers have at most so many rows."""
    return changed(history=dataclasses.replace(SPOT.history, rows_per_request=count))


def test_recorded_answers_that_agree_with_the_frames_pass() -> None:
    found = rows(page_of(40), instruments=[LIST], histories={"BTCUSDT": history()})
    assert found == {
        "order and ids": ("ok", "no frame shows an order; 39 steps between ids"),
        "recorded instruments": ("ok", "1 instrument in 1 body"),
        "recorded history of BTCUSDT": ("ok", "40 trades of BTCUSDT, 40 of them equal in the frames")}


def test_ids_that_skip_in_a_history_are_not_contiguous() -> None:
    state, detail = rows(histories={"BTCUSDT": history(7)})["recorded history of BTCUSDT"]
    assert state == "fail" and "39 of 39 steps between ids skip some (BTCUSDT 1000 then 1007)" in detail


def misspelt(body: bytes, symbol: str, columns: Columns) -> None:
    columns.price = [float(row["prize"]) for row in json.loads(body)]


def misnamed(bodies: Sequence[bytes]) -> list[Instrument]:
    return [Instrument(symbol=row["name"], base="", quote="") for body in bodies for row in json.loads(body)["symbols"]]


def none_of_it(bodies: Sequence[bytes]) -> list[Instrument]:
    return [instrument for instrument in SPOT.parse_instruments(bodies) if instrument.status == "Trading"]


@pytest.mark.parametrize(("facts", "check", "says"), [
    ({"parse_instruments": misnamed}, "recorded instruments", "rejects the recorded list: KeyError: 'name'"),
    ({"parse_instruments": none_of_it}, "recorded instruments", "gives no instrument"),
    ({"parse_history": misspelt}, "recorded history of BTCUSDT", "rejects the recorded history: KeyError: 'prize'"),
    ({"parse_history": lambda body, symbol, columns: json.loads(body)[0]}, "recorded history of BTCUSDT", "gives no trade"),
])
def test_a_misspelt_field_shows_in_the_recorded_answer(facts: dict[str, Any], check: str, says: str) -> None:
    state, detail = rows(changed(**facts), instruments=[LIST], histories={"BTCUSDT": history()})[check]
    assert state == "fail" and says in detail


def test_an_inverted_side_shows_against_the_history() -> None:
    state, detail = rows(histories={"BTCUSDT": history(inverted=True)})["recorded history of BTCUSDT"]
    assert state == "fail" and "the side of 40 of 40 trades differs between history and stream" in detail


def test_a_page_shorter_than_stated_is_named() -> None:
    for count in (40, 500):
        state, detail = rows(histories={"BTCUSDT": history(count=count)})["recorded history of BTCUSDT"]
        assert state == "fail"
        assert f"an answer of {count} rows looks like the venue's limit, but rows_per_request is 1000" in detail
    tight = changed(history=HistoryDepth(rows_per_request=30, pages=True, reach_s=0))
    assert "the answer has 40 rows, but rows_per_request is 30" in rows(tight, histories={"": history()})["recorded history"][1]


def test_a_history_without_a_name_is_matched_to_the_symbol_it_shares_trades_with() -> None:
    assert "41 trades of BTCUSDT" not in str(rows(histories={"": b"[]"}))
    assert rows(page_of(41), histories={"": history(count=41)})["recorded history"] == (
        "ok", "41 trades of BTCUSDT, 40 of them equal in the frames")


def test_a_dialects_history_is_compared_with_its_frames() -> None:
    assert results(check_recorded(SPOT, gather(SPOT, (), SPOT_DIALECT)))["history and stream agree"][0] == "ok"

    def inverted(body: bytes, symbol: str, columns: Columns) -> None:
        SPOT.parse_history(body, symbol, columns)
        columns.sell = [not sell for sell in columns.sell]

    venue = changed(parse_history=inverted)
    state, detail = results(check_recorded(venue, gather(venue, (), SPOT_DIALECT)))["history and stream agree"]
    assert state == "fail" and "differs between history and stream" in detail


@pytest.mark.parametrize(("given", "symbol"), [
    ("{}/history.BTCUSDT.json", "BTCUSDT"), ("BTC-USDT={}/any.json", "BTC-USDT"), ("{}/any.json", "")])
def test_a_history_file_says_of_which_symbol_it_is(tmp_path: Path, given: str, symbol: str) -> None:
    for name in ("history.BTCUSDT.json", "any.json"):
        (tmp_path / name).write_bytes(b"[]")
    assert history_body(given.format(tmp_path)).symbol == symbol


def test_a_body_that_is_missing_or_empty_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    for name in ("empty", "none"):
        with pytest.raises(UsageError, match=name):
            read_body(tmp_path / name)


def test_each_venue_gets_its_own_recordings_and_those_that_it_or_none_can_read() -> None:
    other = changed(market_type="futures", read_control=lambda frame: None, parse=lambda text, columns: 1 / 0,
                    parse_instruments=lambda bodies: [])
    recorded = RecordedFrames(frames=[frames()[0], b"unknown"], instruments=[[LIST]], histories=[HistoryBody("BTCUSDT", b"[]")],
                              by_venue={"binance.futures": RecordedFrames(frames=[b"own"])})
    venues = [SPOT, other]
    assert recorded.frames_of(SPOT, venues) == [frames()[0], b"unknown"]
    assert recorded.frames_of(other, venues) == [b"own", b"unknown"]
    assert (recorded.instruments_of(SPOT, venues), recorded.instruments_of(other, venues)) == ([LIST], ())
    assert recorded.histories_of(SPOT, venues) == {"BTCUSDT": b"[]"}
