"""The contract with a venue's own words: mistakes that no simulator shows, each found in the row that is about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.binance import VENUES
from pumpwatch_plugins.exchanges.phemex import VENUES as PHEMEX

from pumpwatch.errors import UsageError
from pumpwatch.model import Columns, Control, ControlKind, HistoryDepth, IdKind, Instrument, Venue
from pumpwatch.plugin_kit.check_frames import check_frames
from pumpwatch.plugin_kit.check_recorded import check_recorded, history_body
from pumpwatch.plugin_kit.check_requests import check_requests
from pumpwatch.plugin_kit.check_responses import check_responses
from pumpwatch.plugin_kit.check_values import check_values
from pumpwatch.plugin_kit.contract import check_venue
from pumpwatch.plugin_kit.recorder import read_recording, recorded_files
from pumpwatch.plugin_kit.results import Check
from pumpwatch.plugin_kit.samples import HistoryBody, gather

SPOT = VENUES[0]
START_MS = 1_732_186_800_000
LIST = json.dumps({"symbols": [{"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}]}).encode()


def frame(number: int, at_ms: int, sell: bool = True) -> bytes:
    return json.dumps({"e": "trade", "E": at_ms, "s": "BTCUSDT", "t": number, "p": "97000.5", "q": "0.01", "T": at_ms, "m": sell,
                       "M": True}, separators=(",", ":")).encode()


def frames(step: int = 1, count: int = 40) -> list[bytes]:
    return [frame(1000 + step * number, START_MS + 10 * number, number % 2 == 0) for number in range(count)]


def history(step: int = 1, count: int = 40, inverted: bool = False) -> bytes:
    return json.dumps([{"id": 1000 + step * number, "price": "97000.5", "qty": "0.01", "quoteQty": "1",
                        "time": START_MS + 10 * number, "isBuyerMaker": (number % 2 == 0) != inverted, "isBestMatch": True}
                       for number in range(count)]).encode()


def changed(**facts: Any) -> Venue:
    return dataclasses.replace(SPOT, **facts)


def rows(venue: Venue = SPOT, seen: Sequence[bytes] | None = None, part: Callable[..., list[Check]] = check_recorded,
         instruments: Sequence[bytes] = (), histories: Mapping[str, bytes] | None = None) -> dict[str, tuple[str, str]]:
    bodies = [HistoryBody(symbol, body) for symbol, body in (histories or {}).items()]
    samples = gather(venue, frames() if seen is None else seen, None, instruments, bodies)
    return {one.check: (one.state, one.detail) for one in part(venue, samples)}


def test_the_contract_takes_recorded_bodies() -> None:
    found = {one.check for one in check_venue(SPOT, frames(), instruments=[LIST], histories={"BTCUSDT": history()})}
    assert {"order and ids", "recorded instruments", "recorded history of BTCUSDT"} <= found


def test_what_a_venue_really_answered_is_read_and_agrees_with_its_frames() -> None:
    found = rows(instruments=[LIST], histories={"BTCUSDT": history()})
    assert found["recorded instruments"][0] == "ok"
    assert found["order and ids"] == ("ok", "no frame shows an order; 39 steps between ids")
    state, detail = found["recorded history of BTCUSDT"]
    assert state == "fail" and "rows_per_request is 1000" in detail  # 40 rows are a usual page
    wider = changed(history=dataclasses.replace(SPOT.history, rows_per_request=40))
    assert rows(wider, histories={"BTCUSDT": history()})["recorded history of BTCUSDT"] == (
        "ok", "40 trades of BTCUSDT, 40 of them in the frames as well, and equal")


@pytest.mark.parametrize("where", ["frames", "history"])
def test_ids_that_skip_are_not_contiguous(where: str) -> None:
    found = rows(seen=frames(7)) if where == "frames" else rows(histories={"BTCUSDT": history(7)})
    state, detail = found["order and ids" if where == "frames" else "recorded history of BTCUSDT"]
    assert state == "fail" and "39 of 39 steps between ids skip some (BTCUSDT 1000 then 1007)" in detail
    assert rows(changed(id_kind=IdKind.MONOTONIC), frames(7))["order and ids"][0] == "ok"


def test_one_trade_that_the_recording_missed_is_only_a_warning() -> None:
    state, detail = rows(seen=[*frames()[:10], *frames()[11:]])["order and ids"]
    assert state == "warn" and "has the recording missed trades?" in detail


def test_rows_that_descend_within_a_frame_want_newest_first() -> None:
    phemex = PHEMEX[0]
    trades = [[1_700_000_000_000_000_000 - number * 10**9, "Buy", 100_000_000 + number, 1_000_000] for number in range(5)]
    seen = [json.dumps({"symbol": "sBTCUSDT", "trades": trades, "type": "incremental", "sequence": 7}).encode()]
    assert rows(phemex, seen)["order and ids"][0] == "ok"
    state, detail = rows(dataclasses.replace(phemex, newest_first=False), seen)["order and ids"]
    assert state == "fail" and "set newest_first" in detail


def test_a_snapshot_of_several_rows_is_no_reason_to_refuse_a_good_parser() -> None:
    phemex = PHEMEX[0]
    trades = [[1_700_000_000_000_000_000 + number, "Buy", 100_000_000 + number, 1_000_000] for number in range(5)]
    seen = [json.dumps({"symbol": "sBTCUSDT", "trades": trades[::-1], "type": "snapshot", "sequence": 7}).encode()]
    assert rows(phemex, seen, check_values)["impossible values are refused"][0] == "ok"


def misspelt(body: bytes, symbol: str, columns: Columns) -> None:
    columns.price = [float(row["prize"]) for row in json.loads(body)]


def no_list(bodies: Sequence[bytes]) -> list[Instrument]:
    return [Instrument(symbol=row["name"], base="", quote="") for body in bodies for row in json.loads(body)["symbols"]]


def nothing_of_it(bodies: Sequence[bytes]) -> list[Instrument]:
    return [one for one in SPOT.parse_instruments(bodies) if one.status == "Trading"]


@pytest.mark.parametrize(("facts", "check", "says"), [
    ({"parse_instruments": no_list}, "recorded instruments", "own list is not read: KeyError: 'name'"),
    ({"parse_instruments": nothing_of_it}, "recorded instruments", "gives no instrument"),
    ({"parse_history": misspelt}, "recorded history of BTCUSDT", "own history is not read: KeyError: 'prize'"),
    ({"parse_history": lambda body, symbol, columns: json.loads(body)[0]}, "recorded history of BTCUSDT", "gives no trade"),
])
def test_a_misspelt_field_shows_in_what_the_venue_answered(facts: dict[str, Any], check: str, says: str) -> None:
    state, detail = rows(changed(**facts), instruments=[LIST], histories={"BTCUSDT": history()})[check]
    assert state == "fail" and says in detail


def test_an_inverted_side_shows_against_the_history() -> None:
    state, detail = rows(histories={"BTCUSDT": history(inverted=True)})["recorded history of BTCUSDT"]
    assert state == "fail" and "the side of 40 of 40 trades is another in the history" in detail


def test_a_page_shorter_than_stated_is_named() -> None:
    state, detail = rows(histories={"BTCUSDT": history(count=500)})["recorded history of BTCUSDT"]
    assert state == "fail" and "an answer of 500 rows looks like the venue's limit, and rows_per_request is 1000" in detail
    tight = changed(history=HistoryDepth(rows_per_request=30, pages=True, reach_s=0))
    assert "an answer of 40 rows, and rows_per_request is 30" in rows(tight, histories={"": history()})["recorded history"][1]


def test_a_history_without_a_name_is_matched_to_the_symbol_it_shares_trades_with() -> None:
    assert "40 of them in the frames" not in str(rows(histories={"": history(count=41)}))
    assert "41 trades of BTCUSDT" not in str(rows(histories={"": b"[]"}))
    wider = changed(history=dataclasses.replace(SPOT.history, rows_per_request=41))
    assert "41 trades of BTCUSDT, 40 of them" in rows(wider, histories={"": history(count=41)})["recorded history"][1]


def knows_all(raw: bytes) -> Control | None:
    return SPOT.read_control(raw) or Control(ControlKind.OTHER)


def test_control_that_knows_every_frame_is_named() -> None:
    venue = changed(read_control=knows_all)
    assert rows(venue, part=check_frames)["unknown frames are reported"][0] == "fail"
    assert "so it vanishes" in rows(venue, part=check_values)["impossible values are refused"][1]


def prints(text: Any, columns: Columns) -> None:
    print("trades", len(text))
    SPOT.parse(text, columns)


def test_a_parser_that_prints_is_not_pure() -> None:
    state, detail = rows(changed(parse=prints), part=check_frames)["parse is pure"]
    assert state == "fail" and "print 'trades" in detail


def test_a_history_in_whole_seconds_says_so() -> None:
    from pumpwatch_plugins.simulators.binance import SPOT_DIALECT

    def in_seconds(body: bytes, symbol: str, columns: Columns) -> None:
        SPOT.parse_history(body, symbol, columns)
        columns.timestamp = [at // 1000 * 1000 for at in columns.timestamp]

    def state(venue: Venue) -> str:
        return {one.check: one.state for one in check_responses(venue, gather(venue, (), SPOT_DIALECT))}["history"]

    assert state(changed(parse_history=in_seconds)) == "fail"
    coarse = dataclasses.replace(SPOT.history, resolution_ns=10**9)
    assert state(changed(parse_history=in_seconds, history=coarse)) == "ok"


def test_answers_that_name_their_symbol_need_no_request_id() -> None:
    def anonymous(symbols: Sequence[str], number: int) -> str:
        return json.dumps({"op": "subscribe", "args": list(symbols)}, ensure_ascii=False)

    by_id = rows(changed(subscribe=anonymous, unsubscribe=anonymous), part=check_requests)["odd symbols and request ids"]
    assert by_id[0] == "fail" and "answers_by_symbol" in by_id[1]
    by_symbol = changed(subscribe=anonymous, unsubscribe=anonymous, answers_by_symbol=True)
    assert rows(by_symbol, part=check_requests)["odd symbols and request ids"][0] == "ok"


@pytest.mark.parametrize(("given", "symbol"), [
    ("{}/history.BTCUSDT.json", "BTCUSDT"), ("BTC-USDT={}/any.json", "BTC-USDT"), ("{}/any.json", "")])
def test_a_history_file_says_of_which_symbol_it_is(tmp_path: Path, given: str, symbol: str) -> None:
    for name in ("history.BTCUSDT.json", "any.json"):
        (tmp_path / name).write_bytes(b"[]")
    assert history_body(given.format(tmp_path)).symbol == symbol


@pytest.mark.parametrize("read", [
    lambda folder: recorded_files(None, [str(folder / "none.json")], [], None),
    lambda folder: recorded_files(None, [], [str(folder / "empty")], None),
    lambda folder: recorded_files(None, [], [], str(folder)),
    lambda folder: read_recording(folder / "none"),
])
def test_a_file_that_is_not_there_or_empty_is_wrong_usage(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    with pytest.raises(UsageError):
        read(tmp_path)
