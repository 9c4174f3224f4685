"""Facts that cannot be right are named."""

from __future__ import annotations

import pytest

from pumpwatch.plugin_kit.check_facts import check_facts, is_number
from pumpwatch.venue import Heartbeat, HistoryDepth, Venue
from tests.plugin_kit.good_venue import SPOT, changed, failures, limited


@pytest.mark.parametrize(("venue", "says"), [
    (changed(exchange="Binance"), "not a lower-case name"),
    (changed(market_type="swap"), "neither spot nor futures"),
    (changed(ws_url="ws://stream.example.com"), "not wss://"),
    (changed(ws_url="wss://"), "has no host"),
    (changed(rest_url="http://api.example.com"), "not https://"),
    (changed(rest_url="https://api.example.com/"), "must not end in /"),
    (changed(rest_url=None), "is not a string"),
    (changed(headers={"X-Name": "é"}), "printable ASCII strings"),
    (changed(timestamp_unit_ns=1000.0 * 3), "is not one of 1, 1000, "),
    (changed(id_kind="contiguous "), "not an IdKind"),
    (changed(parse=None), "parse is not a function"),
    (changed(instruments_requests=[]), "nothing to subscribe to"),
    (changed(stale_after_s=0), "stale_after_s is 0"),
    (changed(stale_after_s=float("nan")), "stale_after_s is nan"),
    (changed(heartbeat=Heartbeat(interval_s=60, text=None), stale_after_s=30), "with a heartbeat every 60"),
    (changed(heartbeat=Heartbeat(interval_s=20, text=lambda now: '{"op":"ping"')), "not valid JSON"),
    (changed(heartbeat=Heartbeat(interval_s=20, text=lambda now: "")), "the text is ''"),
    (changed(heartbeat=Heartbeat(interval_s=20, text=lambda now: 1 / 0)), "ZeroDivisionError"),
    (limited(symbols_per_message=0), "symbols_per_message is 0"),
    (limited(symbols_per_connection=10.5), "symbols_per_connection is 10.5"),
    (limited(messages_per_second=-1), "messages_per_second is -1"),
    (limited(connection_age_s=5), "live only 5 s"),
    (limited(connection_bytes=100), "less than message_bytes"),
    (limited(subscriptions_per_hour=5), "never fill a connection"),
    (changed(replaces=True), "a message cannot hold them all"),
    (changed(unlisted=lambda symbol: symbol), "unlisted of"),
    (changed(history=HistoryDepth(rows_per_request=-1, pages=False, reach_s=0)), "history is HistoryDepth"),
    (changed(history=HistoryDepth(rows_per_request=1, pages=False, reach_s=0, by_id=True)), "need pages"),
    (changed(history=HistoryDepth(rows_per_request=1, pages=True, reach_s=0, by_time=False)), "pages needs by_id or by_time"),
    (changed(history=HistoryDepth(rows_per_request=1, pages=True, reach_s=0, window_s=0)), "history is HistoryDepth"),
    (changed(aggregated_history=SPOT.history), "not an AggregatedHistory"),
    (changed(candles=SPOT.history), "not an instance of Candles"),
    (changed(books=SPOT.history), "not an instance of OrderBooks"),
    (changed(tickers=SPOT.history), "not an instance of Tickers"),
])
def test_facts_that_cannot_be_right_are_named(venue: Venue, says: str) -> None:
    found = failures(check_facts(venue))
    assert [detail for detail in found.values() if says in detail], found


def test_a_good_venue_has_no_failure() -> None:
    assert [row.state for row in check_facts(SPOT)] == ["ok"] * 5


def test_a_bool_and_nan_are_not_numbers() -> None:
    assert all(map(is_number, (1, 0.5, float("inf"))))
    assert not any(map(is_number, (True, float("nan"), "1")))
