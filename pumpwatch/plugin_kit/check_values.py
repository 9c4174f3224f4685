"""Check that impossible values of a good frame's symbol, price, quantity, time and id are rejected.

No value of the table IMPOSSIBLE may become a trade. A number in another spelling (as text, with an exponent) must give the same
trade or be rejected, and an additional field must change nothing. Frames go through the collector's own parser, so a value that
it rejects counts as rejected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from pumpwatch.model import ControlKind, IdKind
from pumpwatch.pipeline.parse import LATEST_NS
from pumpwatch.plugin_kit.check_frames import FrameReader, columns_of
from pumpwatch.plugin_kit.mutations import Path, Raw, at, places, put, without
from pumpwatch.plugin_kit.results import Check, Problems, short
from pumpwatch.plugin_kit.samples import Samples
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import Venue

SHAPES = 4  # frames of different shapes to mutate
A_DAY_NS = 86_400 * 10**9
COLUMNS = ("symbol", "price", "quantity", "timestamp", "trade_id")

NO_NUMBER: dict[str, Any] = {
    "null": None, "nothing": "", "words": "x", "true": True, "NaN": Raw("NaN"), "NaN as text": "NaN", "Infinity": Raw("Infinity"),
    "Infinity as text": "Infinity", "1e400": Raw("1e400"), "1e400 as text": "1e400", "-1e400": Raw("-1e400"), "a list": [],
    "a list of one": [1], "an object": {},
}
AMOUNT = NO_NUMBER | {"zero": 0, "zero as text": "0", "-0 as text": "-0"}
IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "symbol": {"a slash": "A/B", "null": None, "nothing": "", "a NUL": "A\x00B", "unicode": "币安人生USDT",
               "200 characters": "S" * 200, "a number": 7, "a list": ["A"], "an object": {}},
    "price": AMOUNT | {"negative": -1, "negative as text": "-0.5"},
    "quantity": AMOUNT,  # its sign may be the side
    "timestamp": NO_NUMBER | {"zero": 0, "negative": -1},
    "trade_id": {"null": None, "nothing": "", "negative": -5, "2^63": 2**63, "2^64 + 5": 2**64 + 5, "-2^63 - 1": -(2**63) - 1,
                 "10^40": 10**40, "a list": [], "an object": {}, "1e400": Raw("1e400")},
}
OTHER_UNITS = {"of 1,000 times the unit": Decimal("0.001"), "of a million times the unit": Decimal("0.000001"),
               "of a thousandth of the unit": Decimal(1000), "of a millionth of the unit": Decimal(1_000_000)}
NO_VALUE = ("left out", "null", "nothing", "zero")  # the plugin may use another field then
Trade = tuple[Any, ...]


def check_values(venue: Venue, samples: Samples) -> list[Check]:
    """Return a row for impossible values, and one for values in another spelling."""
    refused, same = Problems(venue.name, "impossible values are refused"), Problems(venue.name, "other spellings mean the same")
    found, impossible, respelt = set[str](), 0, 0
    for frame in seeds(venue, samples):
        where = places_of(venue, frame)
        found.update(where.values())
        reader = FrameReader(venue)
        reader.add_symbols([frame])
        good = trades_of(reader, frame)
        for name, made in impossible_frames(venue, frame):
            impossible += 1
            _require_refused(refused, reader, name, made, good)
        for name, made in _respelt(frame, where):
            respelt += 1
            given = attempt(trades_of, reader, made)
            result = given.message() or given.value
            same.must(given.value is not None and given.value in ([], good), f"{name}: {short(made)} gives {result}")
        for made in _longer(frame):
            respelt += 1
            same.must(attempt(trades_of, reader, made).value == good,
                      f"an additional field changes the trade: {short(made)}")
    if not impossible:
        return []  # without frames, which check_frames reports
    wanted = [name for name in COLUMNS if name != "trade_id" or venue.id_kind != IdKind.NONE]
    missing = [name for name in wanted if name not in found]
    refused.must(not missing, f"no field of a frame sets {', '.join(missing)}")
    return [refused.row(f"{impossible} frames with one value each that no trade can have"),
            same.row(f"{respelt} frames with numbers as text, with exponents, and with additional fields")]


def seeds(venue: Venue, samples: Samples) -> list[bytes]:
    """Return frames of different shapes, with one trade each if possible."""
    found = [cut_to_one(venue, frame) for frame in samples.seeds if _columns(venue, frame).get("symbol")]
    alone = [frame for frame in found if len(_columns(venue, frame)["symbol"]) == 1]
    return (alone or found)[:SHAPES]


def cut_to_one(venue: Venue, frame: bytes) -> bytes:
    """Return a frame with only the first of its trades, or the frame itself if it cannot be cut."""
    rows = len(_columns(venue, frame)["symbol"])
    if rows < 2:
        return frame
    value = json.loads(frame)
    for path in places(value):
        if isinstance(inner := at(value, path), list) and len(inner) == rows:
            cut = put(value, path, inner[:1])
            if len(_columns(venue, cut).get("symbol", ())) == 1:
                return cut
    return frame


def _columns(venue: Venue, frame: bytes) -> dict[str, Any]:
    return attempt(columns_of, venue, b"[" + frame + b"]").value or {}


def places_of(venue: Venue, frame: bytes) -> dict[Path, str]:
    """Return the place in a frame of each value that sets a column, found by changing it a little."""
    value, before = json.loads(frame), _columns(venue, frame)
    where: dict[Path, str] = {}
    for path in places(value):
        other = _other(at(value, path))
        after = _columns(venue, put(value, path, other)) if other is not None else {}
        changed = [name for name in COLUMNS if after and after[name] != before[name]]
        if changed:  # an id may be made from the other columns, so it is last in COLUMNS
            where[path] = changed[0]
    return where


def _other(old: Any) -> Any:
    """Return a near value of the same type; None for a value that is neither number nor text."""
    if isinstance(old, bool) or not isinstance(old, (int, float, str)):
        return None
    if not isinstance(old, str):
        return old + 1
    number = _number(old)
    return str(number + 1) if number is not None else f"{old}X"


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def impossible_frames(venue: Venue, frame: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (what is wrong, the frame) for each impossible value in each place of a good frame."""
    value = json.loads(frame)
    at_ns = _columns(venue, frame)["timestamp"][0] * venue.timestamp_unit_ns
    never = Decimal(LATEST_NS + A_DAY_NS) / Decimal(at_ns)
    for path, column in places_of(venue, frame).items():
        if column == "trade_id" and venue.id_kind == IdKind.NONE:
            continue
        word, old = column.replace("_", " "), at(value, path)
        for name, new in IMPOSSIBLE[column].items():
            yield f"{word}: {name}", put(value, path, new)
        yield f"{word}: left out", without(value, path)
        for name, factor in ({**OTHER_UNITS, "in 2100": never} if column == "timestamp" else {}).items():
            moved = Decimal(old) * factor
            new = str(int(moved)) if isinstance(old, str) else int(moved) if isinstance(old, int) else float(moved)
            yield f"{word}: {name}", put(value, path, new)
    yield "the frame in a list", put((), (), [value])


def _require_refused(problems: Problems, reader: FrameReader, name: str, frame: bytes, good: list[Trade]) -> None:
    given = attempt(trades_of, reader, frame)
    if given.value is None:
        problems.must(False, f"{name}: it raises {given.message()}")
        return
    stands_in = name.endswith(NO_VALUE) and _nearly(given.value, good)
    problems.must(not given.value or stands_in, f"{name}: {short(frame)} becomes the trade {given.value[:1]}")
    vanished = not given.value and not reader.parser.quarantine and reader.others
    problems.must(not vanished, f"{name}: read_control reads it as {ControlKind.OTHER}, so it vanishes: {short(frame)}")


def _nearly(given: list[Trade], good: list[Trade]) -> bool:
    """Return whether trades differ by less than a second in time only, as if another field of the frame gave the time."""
    return [trade[:1] + trade[2:] for trade in given] == [trade[:1] + trade[2:] for trade in good] and all(
        abs(trade[1] - other[1]) < 10**9 for trade, other in zip(given, good, strict=True))


def _respelt(frame: bytes, where: dict[Path, str]) -> Iterator[tuple[str, bytes]]:
    value = json.loads(frame)
    for path, column in where.items():
        old = at(value, path)
        number = _number(str(old)) if column != "symbol" else None
        if number is not None:
            plain = f"{number:f}"
            longer = f"{plain}0" if "." in plain else f"{plain}.0"
            for new in (str(old), Raw(str(old)), f"{number:E}", Raw(f"{number:E}"), longer):
                yield f"{column} as {new if isinstance(new, str) else new.text}", put(value, path, new)


def _longer(frame: bytes) -> Iterator[bytes]:
    value = json.loads(frame)
    for path in places(value):
        if isinstance(old := at(value, path), dict):
            yield put(value, path, {**old, "additional": {"deep": [1, None]}, "": "", "and": 1e300})


def trades_of(reader: FrameReader, frame: bytes) -> list[Trade]:
    """Return the trades that the collector would store from a frame, without synthetic ids."""
    rows: list[Trade] = []
    for part in reader.parse_frames([frame]):
        batch = part.batch if part.void is None else part.batch.take(~part.void)
        ids = batch.id_texts() if reader.venue.id_kind != IdKind.NONE else [""] * len(batch)
        rows += zip(batch.instrument.tolist(), batch.timestamp.tolist(), batch.price.tolist(), batch.quantity.tolist(),
                    batch.side.tolist(), ids, strict=True)
    return rows
