"""Recorded frames and bodies through a venue's decoder, as what was expected of them; frames of our own, mutated."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from pumpwatch.model import Columns, Venue
from pumpwatch.pipeline.decode import Decoder
from tests.corpus import CORPUS, rows


def comparable(trade: dict[str, Any]) -> tuple[Any, ...]:
    """Return a decoded trade as something to compare."""
    return (trade["symbol"], Decimal(repr(trade["price"])), Decimal(repr(trade["quantity"])), trade["side"],
            trade["trade_id"], trade["timestamp"])


def expected(one: dict[str, Any]) -> tuple[Any, ...]:
    """Return an expected trade as the same."""
    return (one["symbol"], Decimal(one["price"]), Decimal(one["quantity"]), one["side"], one["trade_id"],
            one["timestamp_ns"])


def compare_recorded_frames(exchange: str, venues: Iterable[Venue]) -> int:
    """Hold every frame that is not obsolete against what is expected of it; return how many there are."""
    by_market = {venue.market_type: venue for venue in venues}
    checked = 0
    for name in ("trades.jsonl", "trades_cryptofeed.jsonl.gz"):
        for row in rows(name):
            if row["exchange"] == exchange and not row.get("obsolete"):
                got = Decoder(by_market[row["market"]]).frame(row["raw"].encode())
                assert [comparable(one) for one in got] == [expected(one) for one in row.get("expected", [])], row
                checked += 1
    return checked


def read_recorded_control(exchange: str, venues: Iterable[Venue]) -> int:
    """See that every recorded frame that is no trade is understood as none; return how many there are."""
    by_market = {venue.market_type: venue for venue in venues}
    found = [row for row in rows("control.jsonl") if row["exchange"] == exchange]
    for row in found:
        one = Decoder(by_market[row["market"]])
        assert one.frame(row["raw"].encode()) == [] and one.controls == 1 and not one.refused, (row, one.refused)
    return len(found)


def compare_recorded_history(venue: Venue, name: str) -> None:
    """Hold a recorded body of trade history against what is expected of it."""
    assert CORPUS is not None
    folder = CORPUS / "rest_trades"
    wanted = json.loads((folder / f"{name}.expected.json").read_text("utf-8"))
    columns = Columns()
    venue.parse_history((folder / f"{name}.json").read_bytes(), wanted[0]["symbol"], columns)
    got = zip(columns.symbol, columns.price, columns.quantity, columns.sell, columns.trade_id, columns.timestamp, strict=True)
    assert [(symbol, Decimal(repr(price)), Decimal(repr(quantity)), "sell" if sell else "buy", str(number),
             at * venue.timestamp_unit_ns) for symbol, price, quantity, sell, number, at in got] == [
        expected(one) for one in wanted]


def mutate(seeds: list[bytes], count: int, meet: Callable[[bytes], None]) -> None:
    """Hand on so many frames, each one of the seeds with a few bytes changed, the same at each run."""
    chance = random.Random(11)
    for _ in range(count):
        frame = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at, kind = chance.randrange(len(frame)), chance.random()
            if kind < 0.5:
                frame[at] = chance.randrange(256)
            elif kind < 0.75:
                del frame[at]
            else:
                frame.insert(at, chance.choice(b'{}[]",:0129eE.-\\ntrue'))
        meet(bytes(frame))
