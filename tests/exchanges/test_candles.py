"""Candles of the case folders: asked for as documented, and read as base units, oldest first (see README.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.config import Config
from pumpwatch.errors import REFUSALS
from pumpwatch.model import Instrument
from pumpwatch.plugins import load_plugins
from pumpwatch.venue import Candle, Venue

CASES = sorted(file.parent for file in Path(__file__).parent.glob("*/*/candles.json"))
VENUES = {venue.name: venue for venue in load_plugins(Config()).venues if not venue.variant}
NOT_CANDLES = (b"", b"null", b"{}", b"[1,2,3]", b"<html></html>", b'{"code":"400100","msg":"busy"}',
               b'{"label":"X","message":"x"}', b"[[]]", b"[{}]",
               b'{"code":30000,"msg":"Please double check input arguments","data":null}')
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")


def of(case: Path) -> tuple[Venue, Instrument, dict[str, Any]]:
    """Return a case's venue, its instrument, and what is written down."""
    venue = VENUES[f"{case.parent.name}.{case.name.partition('_')[0]}"]
    written = json.loads((case / "candles.json").read_text("utf-8"))
    file, symbol = case / "instruments.json", written["symbol"]
    listed = venue.parse_instruments([file.read_bytes()]) if file.exists() else []
    found = {instrument.symbol: instrument for instrument in listed}
    return venue, found.get(symbol, Instrument(symbol=symbol, base=symbol, quote="USDT")), written


def read(venue: Venue, instrument: Instrument, body: Any) -> list[Candle]:
    assert venue.candles is not None
    return venue.candles.parse(json.dumps(body).encode(), instrument)


@every_case
def test_candles_are_asked_for_as_documented_and_have_base_units_in_ascending_order(case: Path) -> None:
    venue, instrument, written = of(case)
    assert venue.candles is not None
    request = venue.candles.request(written["symbol"], written["start_ns"], written["end_ns"])
    assert {"path": request.path, "params": dict(request.params)} == written["request"] and request.weight == written["weight"]
    got = read(venue, instrument, written["body"])
    figures = [(candle.start_ns, candle.trades, candle.open, candle.high, candle.low, candle.close, candle.volume,
                candle.quote_volume) for candle in got]
    assert [row[:2] for row in figures] == [(row[0], row[7]) for row in written["candles"]]
    assert [row[2:] for row in figures] == [pytest.approx(row[1:7], rel=1e-12) for row in written["candles"]]


@every_case
def test_another_answer_is_not_read_as_candles(case: Path) -> None:
    venue, instrument, _ = of(case)
    assert venue.candles is not None
    for body in NOT_CANDLES:
        with pytest.raises(REFUSALS):
            venue.candles.parse(body, instrument)
