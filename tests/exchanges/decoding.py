"""Frames decoded as a user does, damaged frames, and recorded frames where present, for the tests of the exchanges."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from pumpwatch.model import Columns
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.venue import Venue
from tests.corpus import CORPUS, rows

STRAY = b'{}[]",:0129eE.-\\ntrue'
Trade = tuple[Any, ...]  # symbol, price, quantity, side, trade id, time in ns


def payload(frame: Any) -> bytes:
    """Return a frame's bytes."""
    if isinstance(frame, bytes):
        return frame
    return (frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)).encode()


def changed(frame: dict[str, Any], **change: Any) -> bytes:
    """Return a frame with other values in its trade; ... takes a key out.

    The trade is `data`, the first of `data`, `d`, or the frame itself.
    """
    copy: dict[str, Any] = json.loads(json.dumps(frame))
    trade = copy.get("data", copy.get("d", copy))
    trade = trade[0] if isinstance(trade, list) else trade
    for key, value in change.items():
        if value is ...:
            del trade[key]
        else:
            trade[key] = value
    return payload(copy)


def columns_of(venue: Venue, *frames: Any) -> Columns:
    """Return what a venue's own parser appends for frames."""
    columns = Columns()
    venue.parse(b"[" + b",".join(map(payload, frames)) + b"]", columns)
    return columns


def decoded(venue: Venue, *frames: Any, instruments: bytes | None = None) -> list[dict[str, Any]]:
    """Return the trades of frames as `pumpwatch decode` prints them; fails for a frame that is quarantined."""
    decoder = Decoder(venue, instruments)
    trades = [trade for frame in frames for trade in decoder.frame(payload(frame))]
    assert not decoder.refused, decoder.refused
    return trades


def outcome(venue: Venue, frame: Any) -> str:
    """Return what becomes of a frame: trades, control or quarantined; fails unless it is exactly one of them."""
    decoder = Decoder(venue)
    trades = decoder.frame(payload(frame))
    assert bool(trades) + decoder.controls + len(decoder.refused) == 1, (frame, trades, decoder.refused)
    assert all(reason for _, reason in decoder.refused)
    return "trades" if trades else "control" if decoder.controls else "quarantined"


def damage(venue: Venue, seeds: Sequence[Any], count: int, vanishing: bytes = b"\0") -> None:
    """Decode so many frames, each a seed with a few bytes changed: each must be trades, control or quarantined.

    Only a frame that contains `vanishing` may be none of the three, such as a snapshot without a trade.
    """
    draw = random.Random(7).random  # its other methods take most of the time of a frame
    payloads = [payload(seed) for seed in seeds]
    decoder = Decoder(venue)
    for number in range(count):
        frame = bytearray(payloads[int(draw() * len(payloads))])
        for _ in range(1 + int(draw() * 4)):
            at, kind = int(draw() * len(frame)), draw()
            if kind < 0.5:
                frame[at] = int(draw() * 256)
            elif kind < 0.75:
                del frame[at]
            else:
                frame.insert(at, STRAY[int(draw() * len(STRAY))])
        before = len(decoder.refused) + decoder.controls
        trades = decoder.frame(bytes(frame), number)
        outcomes = len(decoder.refused) + decoder.controls - before
        assert outcomes == 1 or (outcomes == 0 and (trades or vanishing in frame)), frame


def comparable(trades: Iterable[dict[str, Any]]) -> list[Trade]:
    """Return decoded trades in a form that compares exactly."""
    return [(trade["symbol"], Decimal(repr(trade["price"])), Decimal(repr(trade["quantity"])), trade["side"], trade["trade_id"],
             trade["timestamp"]) for trade in trades]


def expected(recorded: Iterable[dict[str, Any]]) -> list[Trade]:
    """Return the trades that a recording is known to hold, in the same form."""
    return [(trade["symbol"], Decimal(trade["price"]), Decimal(trade["quantity"]), trade["side"], trade.get("trade_id"),
             trade["timestamp_ns"]) for trade in recorded]


def without_ids(trades: Iterable[Trade]) -> list[Trade]:
    """Return trades in the same form without their ids, for venues that send none."""
    return [(*trade[:4], trade[5]) for trade in trades]


def historical(venue: Venue, body: bytes, symbol: str) -> list[Trade]:
    """Return the rows of a history body in the same form, in the venue's own units."""
    columns = Columns()
    venue.parse_history(body, symbol, columns)
    return [(name, Decimal(repr(price)), Decimal(repr(quantity)), "sell" if sell else "buy", str(number),
             at * venue.timestamp_unit_ns)
            for name, price, quantity, sell, number, at in
            zip(columns.symbol, columns.price, columns.quantity, columns.sell, columns.trade_id, columns.timestamp, strict=True)]


def compare_recorded_frames(exchange: str, venues: Iterable[Venue], instruments: bytes | None = None, *, ids: bool = True) -> int:
    """Compare every recorded frame of a living protocol with the trades it is known to hold; return how many there are."""
    by_market = {venue.market_type: venue for venue in venues}
    checked = 0
    for name in ("trades.jsonl", "trades_cryptofeed.jsonl.gz"):
        for row in rows(name):
            if row["exchange"] == exchange and not row.get("obsolete"):
                got = comparable(decoded(by_market[row["market"]], row["raw"], instruments=instruments))
                wanted = expected(row.get("expected", []))
                assert got == wanted if ids else without_ids(got) == without_ids(wanted), row
                checked += 1
    return checked


def read_recorded_control(exchange: str, venues: Iterable[Venue]) -> int:
    """Check that every recorded frame that is not a market trade is control, or a flagged row; return how many there are."""
    by_market = {venue.market_type: venue for venue in venues}
    found = [row for row in rows("control.jsonl") if row["exchange"] == exchange]
    for row in found:
        venue = by_market[row["market"]]
        decoder = Decoder(venue)
        assert decoder.frame(row["raw"].encode()) == [] and not decoder.refused, (row, decoder.refused)
        assert decoder.controls == 1 or columns_of(venue, row["raw"]).flags, row
    return len(found)


def compare_recorded_history(venue: Venue, name: str, symbol: str | None = None) -> None:
    """Compare a recorded body of trade history with the trades it is known to hold."""
    assert CORPUS is not None
    folder = CORPUS / "rest_trades"
    wanted = json.loads((folder / f"{name}.expected.json").read_text("utf-8"))
    assert historical(venue, (folder / f"{name}.json").read_bytes(), symbol or wanted[0]["symbol"]) == expected(wanted)
