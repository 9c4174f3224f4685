"""KuCoin's frames and trade rows, read: the classic protocol's, the tokenless one's of 2025, and those of REST.

Which of the two protocols a frame is of shows in its keys, so one `parse` reads both. See kucoin.py for documents and quirks.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

from pumpwatch import NO_SEQUENCE, BadFrame, Columns, Control, ControlKind, Flag

OK = "200000"
TOO_MANY = 509
TRADES = frozenset({"trade.l3match", "match", "trade.SPOT", "trade.FUTURES"})
Id = TypeVar("Id", int, str)


class Match(msgspec.Struct, Generic[Id], gc=False):
    """A trade of the classic protocol: `time` on spot, `ts` on futures."""

    symbol: str
    side: Literal["buy", "sell"]
    price: float
    size: float
    tradeId: Id
    sequence: int
    time: int = 0
    ts: int = 0


class Classic(msgspec.Struct, Generic[Id], gc=False):
    """Its frame."""

    subject: Literal["trade.l3match", "match"]
    data: Match[Id]


class Push(msgspec.Struct, Generic[Id], gc=False):
    """A trade of the tokenless protocol."""

    s: str
    S: Literal["buy", "sell"]
    p: float
    q: float
    M: int
    ti: Id
    E: int
    rpi: bool = False


class Tokenless(msgspec.Struct, Generic[Id], gc=False):
    """Its frame."""

    T: Literal["trade.SPOT", "trade.FUTURES"]
    d: Push[Id]


class Row(msgspec.Struct, gc=False):
    """A trade of the REST history, in any of its shapes."""

    side: Literal["buy", "sell"]
    price: float
    size: float
    sequence: int = NO_SEQUENCE
    tradeId: str = ""
    time: int = 0
    ts: int = 0


_classic = msgspec.json.Decoder(list[Classic[int]], strict=False)
_classic_words = msgspec.json.Decoder(list[Classic[str]], strict=False)
_tokenless = msgspec.json.Decoder(list[Tokenless[int]], strict=False)
_tokenless_words = msgspec.json.Decoder(list[Tokenless[str]], strict=False)


def parse(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of frames, all of one protocol; ids that are no numbers are kept as text."""
    try:
        _append(_classic.decode(text), columns)
    except (msgspec.ValidationError, OverflowError):
        try:
            _append_tokenless(_tokenless.decode(text), columns)
        except (msgspec.ValidationError, OverflowError):
            try:
                _append(_classic_words.decode(text), columns)
            except msgspec.ValidationError:
                _append_tokenless(_tokenless_words.decode(text), columns)


def _checked(ids: list[Any]) -> list[Any]:
    if ids and isinstance(ids[0], int):
        if min(ids) < 0:
            raise BadFrame("a negative id")
        if max(ids) >= 2**63:
            raise OverflowError
    elif not all(one.isalnum() for one in ids):
        raise BadFrame("an id that is neither a number nor a word")
    return ids


def _append(frames: list[Any], columns: Columns) -> None:
    trades = [frame.data for frame in frames]
    columns.trade_id = _checked([trade.tradeId for trade in trades])
    columns.symbol = [trade.symbol for trade in trades]
    columns.price = [trade.price for trade in trades]
    columns.quantity = [trade.size for trade in trades]
    columns.timestamp = times = [trade.time or trade.ts for trade in trades]
    if 0 in times:
        raise BadFrame("a trade without a time")
    columns.sequence_number = [trade.sequence for trade in trades]
    columns.sell = [trade.side == "sell" for trade in trades]


def _append_tokenless(frames: list[Any], columns: Columns) -> None:
    trades = [frame.d for frame in frames]
    columns.trade_id = _checked([trade.ti for trade in trades])
    columns.symbol = [trade.s for trade in trades]
    columns.price = [trade.p for trade in trades]
    columns.quantity = [trade.q for trade in trades]
    columns.timestamp = [trade.M for trade in trades]
    columns.sequence_number = [trade.E for trade in trades]
    columns.sell = [trade.S == "sell" for trade in trades]
    retail = [trade.rpi for trade in trades]
    if True in retail:
        columns.flags = {row: Flag.RPI.value for row, rpi in enumerate(retail) if rpi}


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is no trade: welcome, pong, acknowledgement, refusal, or another topic's data."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    kind, number = message.get("type"), message.get("id")
    request_id = int(number) if isinstance(number, str) and number.isdecimal() else None
    if kind == "welcome" or message.get("message") == "welcome":
        return Control(ControlKind.WELCOME)
    if kind == "pong":
        return Control(ControlKind.PONG)
    if kind == "ack" or message.get("result") is True:
        return Control(ControlKind.ACK, request_id)
    if kind == "error" or message.get("result") is False:
        text = message.get("data") or message.get("msg")
        full = message.get("code") == TOO_MANY and "per session" in str(text)  # the same code says "per topic"
        return Control(ControlKind.FULL if full else ControlKind.REFUSAL, request_id, reason=f"{message.get('code')} {text}")
    subject = message.get("subject") or message.get("T") or message.get("op")
    if isinstance(subject, str) and subject not in TRADES:
        return Control(ControlKind.OTHER, reason=subject)
    return Control(ControlKind.OTHER, reason=kind) if kind in ("notice", "command") else None


def data_in(body: bytes) -> Any:
    """Return what an answer carries. Raises BadFrame for an error, which comes with status 200 as well."""
    answer = msgspec.json.decode(body)
    if str(answer["code"]) != OK:
        raise BadFrame(f"{answer['code']} {answer.get('msg')}")
    return answer["data"]


def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the last trades; on spot they carry no trade id but the sequence number, which it equals."""
    data = data_in(body)
    rows = msgspec.convert(data["list"] if isinstance(data, dict) else data, list[Row], strict=False)
    ids = [row.tradeId or str(row.sequence) for row in rows]
    columns.trade_id = [int(one) for one in ids] if all(one.isdecimal() for one in ids) else _checked(ids)
    columns.symbol = [symbol] * len(rows)
    columns.price = [row.price for row in rows]
    columns.quantity = [row.size for row in rows]
    columns.timestamp = [row.time or row.ts for row in rows]
    columns.sequence_number = [row.sequence for row in rows]
    columns.sell = [row.side == "sell" for row in rows]
