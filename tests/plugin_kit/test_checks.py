"""The contract finds what is wrong: a good plugin with one mistake fails, in the row that is about it."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.config import Config, PluginsConfig
from pumpwatch.errors import BadFrame, UsageError
from pumpwatch.hookspecs import ListingSource, SinkPlugin, Verdict
from pumpwatch.model import Columns, Control, ControlKind, Heartbeat, IdKind, Instrument, Venue
from pumpwatch.plugin_kit import sandbox as watching
from pumpwatch.plugin_kit.check_recorded import RecordedFrames
from pumpwatch.plugin_kit.contract import check_plugin, check_sink, check_source, check_venue
from pumpwatch.plugin_kit.mutations import mutated_frames
from pumpwatch.plugin_kit.results import Check
from pumpwatch.plugin_kit.samples import read_frames
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects

SPOT = VENUES[0]
TRADE = b'{"e":"trade","E":1732186800123,"s":"BTCUSDT","t":%d,"p":"97000.5","q":"0.01","T":1732186800120,"m":true,"M":true}'
FRAMES = [TRADE % number for number in range(1000, 1020)] + [b'{"result":null,"id":7}']
BODY = json.dumps({"symbols": [{"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}]}).encode()


def failures(venue: Venue, frames: Sequence[bytes] = FRAMES) -> dict[str, str]:
    return {one.check: one.detail for one in check_venue(venue, frames) if one.state == "fail"}


def changed(**facts: Any) -> Venue:
    return dataclasses.replace(SPOT, **facts)


def limited(**limits: Any) -> Venue:
    return changed(limits=dataclasses.replace(SPOT.limits, **limits))


def test_a_good_venue_has_no_failure_and_a_speed() -> None:
    rows = check_venue(SPOT, FRAMES)
    assert [one for one in rows if one.state == "fail"] == []
    assert any(one.check == "speed: one trade a frame" and " us a trade" in one.detail for one in rows)


def test_without_frames_it_says_that_nothing_can_be_said_of_trades() -> None:
    states = {one.check: one.state for one in check_venue(SPOT)}
    assert states["frames"] == "warn" and "fail" not in states.values()


@pytest.mark.parametrize(("venue", "says"), [
    (changed(exchange="Binance"), "no lower-case name"),
    (changed(market_type="swap"), "neither spot nor futures"),
    (changed(ws_url="ws://stream.example.com"), "not wss://"),
    (changed(ws_url="wss://"), "names no host"),
    (changed(rest_url="http://api.example.com"), "not https://"),
    (changed(rest_url="https://api.example.com/"), "must end where a path begins"),
    (changed(rest_url=None), "is no text"),
    (changed(headers={"X-Name": "é"}), "texts that HTTP can carry"),
    (changed(timestamp_unit_ns=1000.0 * 3), "no unit of time"),
    (changed(id_kind="contiguous "), "no IdKind"),
    (changed(parse=None), "parse is no function"),
    (changed(instruments_requests=[]), "nothing to subscribe to"),
    (changed(stale_after_s=0), "stale_after_s is 0"),
    (changed(stale_after_s=float("nan")), "stale_after_s is nan"),
    (changed(heartbeat=Heartbeat(interval_s=60, text=None), stale_after_s=30), "with a heartbeat each 60"),
    (changed(heartbeat=Heartbeat(interval_s=20, text=lambda now: '{"op":"ping"')), "looks like JSON and is none"),
    (changed(heartbeat=Heartbeat(interval_s=20, text=lambda now: "")), "the text is ''"),
    (changed(heartbeat=Heartbeat(interval_s=20, text=lambda now: 1 / 0)), "ZeroDivisionError"),
    (limited(symbols_per_message=0), "symbols_per_message is 0"),
    (limited(symbols_per_connection=10.5), "symbols_per_connection is 10.5"),
    (limited(messages_per_second=-1), "messages_per_second is -1"),
    (limited(connection_age_s=5), "live only 5 s"),
    (limited(connection_bytes=100), "less than message_bytes"),
    (limited(subscriptions_per_hour=5), "never fill a connection"),
    (changed(replaces=True), "a message cannot hold them"),
    (changed(unlisted=lambda symbol: symbol), "unlisted of"),
])
def test_facts_that_cannot_be_are_named(venue: Venue, says: str) -> None:
    found = failures(venue)
    assert [detail for check, detail in found.items() if check.startswith("facts") and says in detail], found


def opens_a_socket(text: Any, columns: Columns) -> None:
    socket.socket().close()
    SPOT.parse(text, columns)


def reads_a_file(text: Any, columns: Columns) -> None:
    with Path(__file__).open():
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


def numbers_as_words(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.trade_id = [str(number) for number in columns.trade_id]


def raises_what_it_should_not(text: Any, columns: Columns) -> None:
    try:
        SPOT.parse(text, columns)
    except ValueError as error:
        raise RuntimeError("bad frame") from error


def swallows(text: Any, columns: Columns) -> None:
    if attempt(SPOT.parse, text, columns).error is not None:
        columns.counts = [0]


def takes_any_sign(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.price = [abs(price) for price in columns.price]


def takes_seconds(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.timestamp = [at * 1000 if at < 10**10 else at for at in columns.timestamp]


def forgets_the_id(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    columns.trade_id = [7 for _ in columns.trade_id]


def wants_no_field_more(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    if any("one more" in frame for frame in json.loads(bytes(text))):
        raise BadFrame("a field more")


def reads_only_whole_exponents(text: Any, columns: Columns) -> None:
    SPOT.parse(text, columns)
    if b"E+4" in bytes(text):
        columns.price = [price / 10_000 for price in columns.price]


@pytest.mark.parametrize(("parse", "check", "says"), [
    (takes_any_sign, "impossible values are refused", "price: negative: a trade of "),
    (takes_seconds, "impossible values are refused", "timestamp: of 1,000 times the unit: a trade of "),
    (forgets_the_id, "impossible values are refused", "no field of a frame sets trade_id"),
    (wants_no_field_more, "other spellings mean the same", "with a field more it is no trade"),
    (reads_only_whole_exponents, "other spellings mean the same", "price as 9.70005E+4: [(0, "),
    (opens_a_socket, "parse is pure", "reaches outside: socket."),
    (reads_a_file, "parse is pure", "reaches outside: "),
    (counting(), "parse is pure", "other columns the second time"),
    (changes_its_input, "parse is pure", "changes its input"),
    (shares_a_list, "parse is pure", "already given"),
    (only_the_first, "columns agree", ""),
    (wrong_counts, "columns agree", "counts are not"),
    (numbers_as_words, "columns agree", "must be whole numbers"),
    (raises_what_it_should_not, "parse refuses what it must", "RuntimeError: bad frame (test_checks.py:"),
    (swallows, "no frame vanishes", "neither trade, control nor refused"),
])
def test_a_parser_with_one_mistake_fails_where_it_is_made(parse: Any, check: str, says: str) -> None:
    frames = [*FRAMES, TRADE.replace(b"97000.5", b"1.5") % 5]
    found = failures(changed(parse=parse), frames)
    assert says in found.get(check, "(no failure)"), found


def test_a_reader_of_control_frames_that_breaks_is_named() -> None:
    def read_control(frame: bytes) -> Control:
        raise OSError("no")

    assert "read_control raises OSError" in failures(changed(read_control=read_control))["parse refuses what it must"]


def test_a_recorded_frame_that_nobody_understands_fails() -> None:
    found = failures(SPOT, [*FRAMES, b'{"e":"somethingNew"}'])
    assert 'neither trade nor control : {"e":"somethingNew"}' in found["frames are understood"]


def test_a_recorded_trade_with_an_impossible_time_is_worth_a_warning() -> None:
    rows = check_venue(SPOT, [*FRAMES, (TRADE % 5).replace(b'"T":1732186800120', b'"T":123456789')])
    (row,) = [one for one in rows if one.check == "frames are understood"]
    assert row.state == "warn" and "a time out of range" in row.detail


def test_a_small_number_may_be_written_with_an_exponent() -> None:
    assert failures(SPOT, [frame.replace(b'"0.01"', b'"5.7e-05"') for frame in FRAMES]) == {}


def test_frames_of_two_protocols_may_be_in_one_recording() -> None:
    wrapped = [b'{"stream":"btcusdt@trade","data":%s}' % frame for frame in FRAMES[:20]]
    assert failures(SPOT, [*FRAMES, *wrapped]) == {}


@pytest.mark.parametrize(("facts", "check", "says"), [
    ({"subscribe": lambda symbols, number: '{"params":["' + '","'.join(symbols) + f'"],"id":{number}}}'},
     "odd symbols and request ids", "asks for something else"),
    ({"subscribe": lambda symbols, number: json.dumps(list(symbols))}, "odd symbols and request ids",
     "leaves out the request id"),
    ({"subscribe": lambda symbols, number: json.dumps([[name[:64] for name in symbols], number])}, "odd symbols and request ids",
     "asks for something else"),
    ({"unsubscribe": lambda symbols, number: symbols[100]}, "odd symbols and request ids", "IndexError"),
    ({"unsubscribe": lambda symbols, number: f'{{"method":"PING","id":{number}}}'}, "odd symbols and request ids",
     "unsubscribe of 'A/B' asks for something else"),
    ({"subscribe": lambda symbols, number: json.dumps([*symbols[1:], number])}, "subscribe within its limits", "in no message"),
    ({"subscribe": lambda symbols, number: json.dumps([*symbols, "x" * 9000, number])}, "subscribe within its limits",
     "bytes of 8000"),
    ({"history_request": lambda query: 5}, "history requests", "no HttpRequest"),
    ({"history_request": lambda query: dataclasses.replace(SPOT.history_request(query), path="trades")}, "history requests",
     "does not begin with /"),
    ({"history_request": lambda query: dataclasses.replace(SPOT.history_request(query), weight=10_000)}, "history requests",
     "a weight of 10000"),
])
def test_a_wrong_question_is_named(facts: dict[str, Any], check: str, says: str) -> None:
    found = failures(changed(**facts))
    assert says in found.get(check, "(no failure)"), found


def lenient(bodies: Sequence[bytes]) -> list[Instrument]:
    given = attempt(SPOT.parse_instruments, bodies)
    return given.value or []


def breaking(bodies: Sequence[bytes]) -> list[Instrument]:
    if attempt(SPOT.parse_instruments, bodies).error is not None:
        raise SystemError("no list")
    return []


@pytest.mark.parametrize(("facts", "check", "says"), [
    ({"parse_instruments": lenient}, "instruments: bad bodies are refused", "an empty body is taken for a list"),
    ({"parse_instruments": breaking}, "instruments: bad bodies are refused", "an empty body raises SystemError"),
    ({"parse_history": lambda body, symbol, columns: None}, "history: bad bodies are refused", "null is taken for a list"),
])
def test_a_body_that_is_no_list_must_be_refused(facts: dict[str, Any], check: str, says: str) -> None:
    found = failures(changed(**facts))
    assert says in found.get(check, "(no failure)"), found


def test_answers_are_held_against_the_dialect() -> None:
    from pumpwatch_plugins.simulators.binance import SPOT_DIALECT

    def anonymous(frame: bytes) -> Control | None:
        control = SPOT.read_control(frame)
        return Control(ControlKind.ACK) if control and control.kind == ControlKind.ACK else control

    def half(bodies: Sequence[bytes]) -> list[Instrument]:
        return SPOT.parse_instruments(bodies)[:3]

    venue = changed(read_control=anonymous, parse_instruments=half, id_kind=IdKind.CONTIGUOUS, timestamp_unit_ns=1_000_000)
    found = {one.check: one.detail for one in check_venue(venue, FRAMES, SPOT_DIALECT) if one.state == "fail"}
    assert "recovered from the answer" in found["answers are understood"]
    assert "symbols that trade are left out" in found["instruments"]


def source(**facts: Any) -> ListingSource:
    def refuse(body: bytes) -> list[Any]:
        raise BadFrame("no list of notices")

    given: dict[str, Any] = {"name": "board", "url": "https://example.com/notices", "headers": {}, "interval_s": 5.0,
                             "parse": refuse, "verdict": lambda title: Verdict("other")}
    return ListingSource(**given | facts)


def states(checks: Sequence[Check]) -> dict[str, str]:
    return {one.check: one.state for one in checks}


def test_a_notice_board_is_held_to_its_part() -> None:
    assert set(states(check_source(source())).values()) == {"ok"}
    assert states(check_source(source(url="http://example.com")))["facts"] == "fail"
    assert states(check_source(source(interval_s=0.01)))["facts"] == "fail"
    assert states(check_source(source(parse=lambda body: [])))["bad bodies are refused"] == "fail"
    assert states(check_source(source(verdict=lambda title: title[0])))["odd titles get a verdict"] == "fail"


def test_a_sink_without_its_methods_is_named() -> None:
    import msgspec

    class Options(msgspec.Struct, forbid_unknown_fields=True):
        path: str = ""

    class Loose(msgspec.Struct):
        path: str = ""

    row = check_sink(SinkPlugin("mine", Options, lambda options: object()))  # type: ignore[arg-type, return-value]
    assert row.state == "fail" and "it lacks close, open, read" in row.detail
    row = check_sink(SinkPlugin("mine", Loose, lambda options: object()))  # type: ignore[arg-type, return-value]
    assert "lets unknown keys pass" in row.detail


def test_a_plugin_that_does_not_load_is_one_row_and_an_unknown_one_is_a_wrong_word(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    config = Config(plugins=PluginsConfig(folder=str(tmp_path)))
    (row,) = check_plugin("broken", config)
    assert (row.check, row.state) == ("it loads", "fail") and "ZeroDivisionError" in row.detail
    with pytest.raises(UsageError, match="no plugin is called `brocken`"):
        list(check_plugin("brocken", config))


def test_a_file_without_frames_is_a_wrong_word(tmp_path: Path) -> None:
    (tmp_path / "frames").write_text("\n\n")
    for file in (tmp_path / "frames", tmp_path / "none"):
        with pytest.raises(UsageError):
            list(check_plugin("binance", Config(), RecordedFrames(frames=read_frames(file))))


def test_a_file_may_hold_the_frames_of_all_markets_but_none_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(b"\n".join([*FRAMES, json.dumps({"raw": '{"e":"new"}'}).encode()]))
    recorded = RecordedFrames(frames=read_frames(tmp_path / "frames"))
    rows = [one for one in check_plugin("binance", Config(), recorded, round_trip=False) if one.state == "fail"]
    assert {(one.of, one.check) for one in rows} == {
        (name, "frames are understood") for name in ("binance.spot", "binance.futures", "binance.futures:agg_trade")}


def test_where_no_request_drops_a_symbol_unsubscribing_need_not_name_it() -> None:
    assert failures(changed(unsubscribe=lambda symbols, number: f'{{"method":"PING","id":{number}}}', drops=False)) == {}


def test_another_protocol_of_a_venue_is_checked_with_the_frames_of_it_that_its_dialect_makes() -> None:
    rows = {(one.of, one.check): one for one in check_plugin("kucoin", Config(), round_trip=False)}
    assert rows["kucoin.spot:tokenless", "frames are understood"].detail == "3000 frames of its dialect"
    assert ("kucoin.spot:tokenless", "frames") not in rows


def test_numbers_that_no_encoder_writes_are_among_the_mutations() -> None:
    made = mutated_frames([TRADE % 7], 10_000)
    assert TRADE.replace(b'"97000.5"', b"1e400") % 7 in made and TRADE.replace(b'"0.01"', b"NaN") % 7 in made


@given(st.lists(st.sampled_from(FRAMES), min_size=1, max_size=3, unique=True))
def test_mutations_are_the_same_at_each_run_and_never_the_frame_itself(seeds: list[bytes]) -> None:
    made = mutated_frames(seeds, 200)
    assert made == mutated_frames(seeds, 200)
    assert len(set(made)) == len(made) and not set(seeds) & set(made)


def test_what_other_threads_do_is_not_heard(tmp_path: Path) -> None:
    import threading

    with watch_effects() as effects:
        thread = threading.Thread(target=lambda: (tmp_path / "theirs").write_text("x"))
        thread.start()
        thread.join()
    assert not [event for event in effects if "theirs" in event]
    with watch_effects() as effects:
        (tmp_path / "ours").write_text("x")
    assert [event for event in effects if "ours" in event]
    (tmp_path / "later").write_text("x")
    assert not [event for event in watching._audit.effects if "later" in event]
