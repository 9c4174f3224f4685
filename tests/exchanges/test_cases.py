"""The case folders beside this file: frames made by the exchanges' documents, and what must come of them (see README.md)."""

from __future__ import annotations

import dataclasses
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.cli import run
from pumpwatch.config import Config
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, REFUSALS
from pumpwatch.model import Columns, Flag, Instrument
from pumpwatch.plugins import load_plugins
from pumpwatch.venue import HistoryQuery, HttpRequest, Venue
from tests.exchanges.decoding import columns_of

FOLDER = Path(__file__).parent
CASES = sorted(file.parent for file in FOLDER.glob("*/*/frames.jsonl"))
VENUES = {venue.name: venue for venue in load_plugins(Config()).venues if not venue.variant}
WITHOUT_OUTCOME = {"quarantined", "marked rows", "nothing"}  # what `kind` may be besides a ControlKind

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")


def venue_of(case: Path) -> Venue:
    """Return the venue of a case: its exchange is the outer folder, its market the first word of the inner one."""
    return VENUES[f"{case.parent.name}.{case.name.partition('_')[0]}"]


def frames_of(case: Path) -> list[str]:
    return (case / "frames.jsonl").read_text("utf-8").splitlines()


def rows_of(case: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a case's file, none where it has no such file."""
    file = case / name
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def expected_of(case: Path) -> list[dict[str, Any]]:
    venue = venue_of(case)
    return [{"exchange": venue.exchange, "market_type": venue.market_type, **row} for row in rows_of(case, "expected.jsonl")]


def instruments_of(case: Path) -> dict[str, Instrument]:
    file = case / "instruments.json"
    listed = venue_of(case).parse_instruments([file.read_bytes()]) if file.exists() else []
    return {instrument.symbol: instrument for instrument in listed}


def test_every_market_of_the_exchanges_that_ship_has_a_case() -> None:
    assert {venue_of(case).name for case in CASES} == set(VENUES)


@every_case
def test_every_line_of_a_case_has_an_outcome_written_down(case: Path) -> None:
    written = {row["line"] for row in expected_of(case) + rows_of(case, "others.jsonl")}
    assert written == set(range(1, len(frames_of(case)) + 1))


@every_case
def test_decode_prints_the_expected_trades_and_reports_the_quarantined_lines(
        case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    monkeypatch.chdir(tmp_path)
    lines = Path("lines.jsonl")
    lines.write_text("".join(json.dumps({"raw": frame}) + "\n" for frame in frames_of(case)), "utf-8")
    instruments = ["--instruments", str(case / "instruments.json")] if (case / "instruments.json").exists() else []
    quarantined = [row["line"] for row in rows_of(case, "others.jsonl") if row["kind"] == "quarantined"]
    assert run(["decode", venue_of(case).name, str(lines), *instruments]) == (EXIT_FOUND if quarantined else EXIT_OK)
    printed = capsysbinary.readouterr()
    assert [json.loads(line) for line in printed.out.splitlines()] == expected_of(case)
    assert [int(number) for number in re.findall(rb"^line (\d+): ", printed.err, re.MULTILINE)] == quarantined


@every_case
def test_frames_that_are_not_trades_are_read_as_the_documents_say(case: Path) -> None:
    frames = frames_of(case)
    for row in rows_of(case, "others.jsonl"):
        if row["kind"] in WITHOUT_OUTCOME:
            continue
        control = venue_of(case).read_control(frames[row["line"] - 1].encode())
        assert control is not None, row
        assert (control.kind.value, control.request_id) == (row["kind"], row.get("request_id")), row
        symbols = set(row.get("symbols", ()))
        assert symbols <= set(control.symbols) and bool(symbols) == bool(control.symbols), row


@every_case
def test_rows_are_flagged_past_or_without_a_trade_as_written_down_and_no_others(case: Path) -> None:
    found = []
    for line, frame in enumerate(frames_of(case), 1):
        try:
            columns = columns_of(venue_of(case), frame)
        except REFUSALS:  # not a frame of trades; the test above says what it is instead
            continue
        for row, trade_id in enumerate(columns.trade_id):
            mark: dict[str, Any] = {"void": row in columns.void, "past": row in columns.past,
                                    "flags": [flag.name for flag in Flag(columns.flags.get(row, 0))]}
            mark = {name: value for name, value in mark.items() if value}
            if mark:
                found.append({"line": line, "row": row, **mark, "trade_id": str(trade_id)})
    assert found == rows_of(case, "marks.jsonl")


def answers(pattern: str) -> pytest.MarkDecorator:
    """Run a test for each file of REST requests and answers whose name fits."""
    return pytest.mark.parametrize("file", sorted(file for case in CASES for file in case.glob(pattern)),
                                   ids=lambda file: f"{file.parent.parent.name}/{file.parent.name}/{file.name}")


def require_request(made: HttpRequest, wanted: dict[str, Any]) -> None:
    """Fail if a request is another than the one that is written down; its weight counts where it is written down."""
    weight = {"weight": made.weight} if "weight" in wanted else {}
    assert {"path": made.path, "params": dict(made.params), **weight} == wanted


@answers("history*.json")
def test_history_is_asked_for_as_documented_and_has_the_very_trades_of_the_stream(file: Path) -> None:
    case = file.parent
    venue, history, instruments = venue_of(case), json.loads(file.read_text("utf-8")), instruments_of(case)
    require_request(venue.history_request(HistoryQuery(**history["query"])), history["request"])
    columns, symbol = Columns(), history["query"]["symbol"]
    venue.parse_history(json.dumps(history["body"]).encode(), symbol, columns)
    unit = instruments.get(symbol) or Instrument(symbol=symbol, base=symbol, quote="USDT")
    got = [(str(trade_id), name, "sell" if sell else "buy", exact(price) / exact(unit.price_divisor),
            exact(quantity) * exact(unit.contract_size), at * venue.timestamp_unit_ns)
           for trade_id, name, sell, price, quantity, at in
           zip(columns.trade_id, columns.symbol, columns.sell, columns.price, columns.quantity, columns.timestamp, strict=True)]
    live = {row["trade_id"]: row for row in expected_of(case)}
    assert got == [(row["trade_id"], row["symbol"], row["side"], exact(row["price"]), exact(row["quantity"]), row["timestamp"])
                   for row in (live[trade_id] for trade_id in history["trade_ids"])]


@answers("aggregated*.json")
def test_an_aggregated_history_is_asked_for_as_documented_and_names_every_id(file: Path) -> None:
    venue, history = venue_of(file.parent), json.loads(file.read_text("utf-8"))
    deeper, columns = venue.aggregated_history, Columns()
    assert deeper is not None
    require_request(deeper.request(HistoryQuery(**history["query"])), history["request"])
    deeper.parse(json.dumps(history["body"]).encode(), history["query"]["symbol"], columns)
    rows: list[dict[str, Any]] = []
    for row, trade_id in enumerate(columns.trade_id):
        trade = {"flags": [flag.name for flag in Flag(columns.flags.get(row, 0))], "side": "sell" if columns.sell[row] else "buy",
                 "price": columns.price[row], "quantity": columns.quantity[row],
                 "timestamp": columns.timestamp[row] * venue.timestamp_unit_ns}
        rows.append({"trade_id": str(trade_id), **({"void": True} if row in columns.void else trade)})
    assert rows == history["rows"]


@answers("candles*.json")
def test_candles_are_asked_for_as_documented_and_counted_in_base_units(file: Path) -> None:
    venue, case = venue_of(file.parent), json.loads(file.read_text("utf-8"))
    symbol = case["query"]["symbol"]
    instrument = instruments_of(file.parent).get(symbol) or Instrument(symbol=symbol, base=symbol, quote="USDT")
    assert venue.candles is not None
    require_request(venue.candles.request(**case["query"]), case["request"])
    found = venue.candles.parse(json.dumps(case["body"]).encode(), instrument)
    assert [dataclasses.asdict(candle) for candle in found] == case["candles"]


@answers("book*.json")
def test_a_book_is_asked_for_as_documented_and_counted_in_base_units(file: Path) -> None:
    venue, case = venue_of(file.parent), json.loads(file.read_text("utf-8"))
    instrument = instruments_of(file.parent).get(case["symbol"]) or Instrument(symbol=case["symbol"], base="", quote="USDT")
    assert venue.books is not None
    require_request(venue.books.request(case["symbol"]), case["request"])
    book = venue.books.parse(json.dumps(case["body"]).encode(), instrument)
    assert (book.at_ns, book.sequence) == (case["book"]["at_ns"], case["book"]["sequence"])
    for found, wanted in ((book.bids, case["book"]["bids"]), (book.asks, case["book"]["asks"])):
        assert [list(level) for level in found] == [pytest.approx(level, rel=1e-12) for level in wanted]


@answers("ticker*.json")
def test_a_ticker_is_asked_for_as_documented_and_counted_in_base_units(file: Path) -> None:
    venue, case = venue_of(file.parent), json.loads(file.read_text("utf-8"))
    instrument = instruments_of(file.parent).get(case["symbol"]) or Instrument(symbol=case["symbol"], base="", quote="USDT")
    assert venue.tickers is not None
    require_request(venue.tickers.request(case["symbol"]), case["request"])
    found = dataclasses.asdict(venue.tickers.parse(json.dumps(case["body"]).encode(), instrument))
    known = {name: value for name, value in found.items() if value == value and value != {"trades": -1, "at_ns": 0}.get(name)}
    assert known == {name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
                     for name, value in case["ticker"].items()}


def exact(number: float) -> Decimal:
    """Return a number as its shortest decimal, which is how it was written."""
    return Decimal(repr(number))
