"""What the tests of several exchanges share: decoding as a user does, recorded frames, frames gone wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from pumpwatch.model import Columns, Venue
from pumpwatch.pipeline.decode import Decoder
from tests.corpus import rows

STRAY = b'{}[]",:0129eE.-\\ntrue'


def columns_of(venue: Venue, *frames: str | bytes) -> Columns:
    """Return what a venue's own parser makes of frames."""
    columns = Columns()
    venue.parse(b"[" + b",".join(one.encode() if isinstance(one, str) else one for one in frames) + b"]", columns)
    return columns


def decoded(venue: Venue, *frames: Any, instruments: bytes | None = None) -> list[dict[str, Any]]:
    """Return the trades of frames (text, bytes or plain data); none may be refused."""
    decoder = Decoder(venue, instruments)
    trades = [trade for one in frames for trade in decoder.frame(payload(one))]
    assert not decoder.refused, decoder.refused
    return trades


def payload(frame: Any) -> bytes:
    """Return a frame's bytes."""
    if isinstance(frame, bytes):
        return frame
    return (frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)).encode()


def changed(frame: dict[str, Any], **change: Any) -> bytes:
    """Return a frame with other values in its trade, which is `data`, the first of `data`, or `d`; ... takes a key out."""
    copy: dict[str, Any] = json.loads(json.dumps(frame))
    trade = copy.get("data", copy.get("d"))
    trade = trade[0] if isinstance(trade, list) else trade
    for key, value in change.items():
        if value is ...:
            del trade[key]
        else:
            trade[key] = value
    return payload(copy)


def outcome(venue: Venue, frame: bytes) -> str:
    """Return what becomes of a frame: trades, control, refused; it is exactly one of them."""
    decoder = Decoder(venue)
    trades = decoder.frame(frame)
    assert bool(trades) + decoder.controls + len(decoder.refused) == 1, (frame, trades, decoder.refused)
    assert all(reason for _, reason in decoder.refused)
    return "trades" if trades else "control" if decoder.controls else "refused"


def mutate(venue: Venue, seeds: Sequence[Any], count: int) -> None:
    """Spoil frames at random; each must be trades, control or refused, and none may raise."""
    rng = random.Random(7)
    decoder = Decoder(venue)
    for number in range(count):
        frame = bytearray(payload(rng.choice(seeds)))
        for _ in range(rng.randint(1, 4)):
            at, kind = rng.randrange(len(frame)), rng.random()
            if kind < 0.5:
                frame[at] = rng.randrange(256)
            elif kind < 0.75:
                del frame[at]
            else:
                frame.insert(at, rng.choice(STRAY))
        before = len(decoder.refused) + decoder.controls
        trades = decoder.frame(bytes(frame), number)
        assert bool(trades) + len(decoder.refused) + decoder.controls - before >= 1, frame


def recorded(exchange: str, market_type: str) -> Iterable[tuple[str, list[Any]]]:
    """Yield the recorded frames of a venue's living protocols and their trades in comparable form."""
    for name in ("trades.jsonl", "trades_cryptofeed.jsonl.gz"):
        for row in rows(name):
            if (row["exchange"], row["market"]) == (exchange, market_type) and not row.get("obsolete"):
                yield row["raw"], [(one["symbol"], Decimal(one["price"]), Decimal(one["quantity"]), one["side"], one["trade_id"],
                                    one["timestamp_ns"]) for one in row.get("expected", [])]


def comparable(trades: Iterable[dict[str, Any]]) -> list[Any]:
    """Return decoded trades in the same form."""
    return [(one["symbol"], Decimal(repr(one["price"])), Decimal(repr(one["quantity"])), one["side"], one["trade_id"],
             one["timestamp"]) for one in trades]


def historical(venue: Venue, body: bytes, symbol: str) -> list[Any]:
    """Return the rows of a history body in the same form, in the venue's own unit."""
    columns = Columns()
    venue.parse_history(body, symbol, columns)
    return [(name, Decimal(repr(price)), Decimal(repr(quantity)), "sell" if sell else "buy", str(number),
             at * venue.timestamp_unit_ns)
            for name, price, quantity, sell, number, at in
            zip(columns.symbol, columns.price, columns.quantity, columns.sell, columns.trade_id, columns.timestamp, strict=True)]
