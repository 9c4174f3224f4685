"""Functions for a source's `parse` that several boards share: rows of a list, lists of markets, times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TypeVar

import msgspec

from pumpwatch.errors import BadFrame
from pumpwatch.hookspecs import Market

T = TypeVar("T")

SHOWN_BYTES = 300  # of an unreadable row


def rows_of(raws: Sequence[msgspec.Raw], read: Callable[[bytes], T | None], name: str) -> list[T | BadFrame]:
    """Read each row of a list; an unreadable row becomes a BadFrame in its place.

    read: returns a row's value, or None to leave it out; it raises a DecodeError of msgspec, ValueError, OverflowError or
    RecursionError for an unreadable row. name: the list, such as `Upbit's notices`. Raises BadFrame if there are rows but all
    are unreadable.
    """
    rows: list[T | BadFrame] = []
    for raw in raws:
        try:
            row = read(raw)
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
            text = bytes(raw)[:SHOWN_BYTES].decode("utf-8", "replace")
            rows.append(BadFrame(f"a row of {name} cannot be read: {error}: {text}"))
        else:
            if row is not None:
                rows.append(row)
    if rows and all(isinstance(row, BadFrame) for row in rows):
        raise BadFrame(f"{name}: every row is unreadable, the first: {rows[0]}")
    return rows


class PairRow(msgspec.Struct):
    """A row of a list of markets; other keys are ignored."""

    market: str  # KRW-BTC


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_pair = msgspec.json.Decoder(PairRow).decode


def bare_list(body: bytes, name: str) -> list[msgspec.Raw]:
    """Return the rows of a body that is a JSON list. Raises BadFrame for any other body and for an empty list."""
    try:
        raws = _decode_list(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFrame(f"not {name}: {error}") from error
    if not raws:
        raise BadFrame(f"{name} came without a row")
    return raws


def pair_markets(body: bytes, name: str) -> list[Market | BadFrame]:
    """Return the markets of a list such as `[{"market": "KRW-BTC"}, ...]`, as `rows_of` does."""
    return rows_of(bare_list(body, name), _pair, name)


def _pair(raw: bytes) -> Market:
    symbol = _decode_pair(raw).market
    quote, _, coin = symbol.partition("-")
    return Market(symbol=symbol, coin=coin, quote=quote)


def time_ns(text: str, utc_offset_min: int | None = None) -> int:
    """Return the ns since 1970 of a time in ISO 8601, rounded to ms. Any date is accepted.

    utc_offset_min: the offset of a text without one; None: such a text raises ValueError. Raises ValueError and OverflowError.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        if utc_offset_min is None:
            raise ValueError(f"the time {text!r} has no offset")
        moment = moment.replace(tzinfo=timezone(timedelta(minutes=utc_offset_min)))
    return round(moment.timestamp() * 1000) * 1_000_000
