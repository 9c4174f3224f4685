"""What of Binance's symbol lists is subscribed."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable

import msgspec
import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from tests.corpus import CORPUS, needs_corpus

SPOT, FUTURES, _ = VENUES


def listed(venue, rows):
    return {one.symbol: one.status for one in venue.parse_instruments([json.dumps({"symbols": rows}).encode()])}


def row(symbol: str, status: str, **other: object) -> dict[str, object]:
    return {"symbol": symbol, "status": status, "baseAsset": symbol[:-4], "quoteAsset": symbol[-4:], **other}


@pytest.mark.parametrize("status", ["TRADING", "BREAK", "HALT", "END_OF_DAY", "CANCEL_ONLY", "AUCTION_MATCH"])
def test_spot_symbols_are_subscribed_whatever_halts_them(status):
    assert listed(SPOT, [row("AUSDT", status, isSpotTradingAllowed=True)]) == {"AUSDT": status.lower()}


@pytest.mark.parametrize(("status", "taken"), [
    ("TRADING", True), ("PENDING_TRADING", True), ("PRE_SETTLE", True), ("SETTLING", False), ("CLOSE", False),
    ("DELIVERING", False), ("DELIVERED", False)])
def test_futures_are_subscribed_before_they_open_and_not_once_they_ended(status, taken):
    assert bool(listed(FUTURES, [row("AUSDT", status, contractType="PERPETUAL")])) == taken


def test_what_is_not_open_yet_has_no_contract_type():
    assert listed(FUTURES, [row("AUSDT", "PENDING_TRADING", contractType="")]) == {"AUSDT": "pending_trading"}


def test_dated_contracts_and_other_quotes_are_left_out():
    rows = [row("AUSDT", "TRADING", contractType="CURRENT_QUARTER"), row("AUSDC", "TRADING", contractType="PERPETUAL")]
    assert not listed(FUTURES, rows)


@needs_corpus
def test_recorded_lists():
    folder = CORPUS / "rest_symbols"
    spot = SPOT.parse_instruments([gzip.decompress((folder / "binance_spot_exchangeInfo_20211012.json.gz").read_bytes())])
    assert (len(spot), sum(one.status == "trading" for one in spot)) == (302, 275)
    futures = FUTURES.parse_instruments([(folder / "binance_usdm_exchangeInfo_20210722.json").read_bytes()])
    assert [one.symbol for one in futures if one.status != "trading"] == ["BTCSTUSDT"]


def test_of_a_list_whose_rows_are_mostly_permissions_little_is_decoded() -> None:
    row = {"status": "TRADING", "quoteAsset": "USDT", "permissionSets": [[f"TRD_GRP_{number:03d}" for number in range(200)]]}
    body = json.dumps({"symbols": [row | {"symbol": f"C{one}USDT", "baseAsset": f"C{one}"} for one in range(1000)]}).encode()

    def seconds(read: Callable[[], object]) -> float:
        took = []
        for _ in range(5):
            began = time.process_time()
            read()
            took.append(time.process_time() - began)
        return min(took)

    assert seconds(lambda: SPOT.parse_instruments([body])) < seconds(lambda: msgspec.json.decode(body)) / 2
