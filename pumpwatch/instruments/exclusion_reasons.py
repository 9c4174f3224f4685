"""Explain why symbols of a venue's list are not collected.

A plugin's `parse_instruments` only returns the instruments to keep. The reasons come from the list itself: a field in which
every kept row has one of a few values has another value in the excluded row (`status BREAK`, `quoteAsset BTC`). This module
knows no venue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import gevent
import msgspec

from pumpwatch.instruments.lists import possible_name

FEW = 4  # most values of a field that describes the kind of a row
EACH = 5  # least rows per value of such a field, on average
SHOWN = 3  # most fields in a reason
LONGEST_REASON = 200  # characters
DEEPEST = 4  # nesting level at which a list of rows may be

PAUSE_ROWS, PAUSE_S = 100, 0.0001  # lets sockets be read while thousands of rows are examined

TEXT, TRUTH, LONGEST_TRUTH = ord('"'), {b"true": True, b"false": False}, 5
Row = Mapping[str, str | bool | None]  # None: neither a text nor a boolean
T = TypeVar("T")
Decoded = dict[str, msgspec.Raw] | list[msgspec.Raw]


def exclusion_reasons(bodies: Sequence[bytes], kept: set[str]) -> dict[str, str]:
    """Return symbol -> reason for the rows that are not kept; empty if the symbols in the rows cannot be identified."""
    rows = list(_paced(row for body in bodies for row in _rows(body, DEEPEST)))
    hits = Counter(key for row in _paced(rows) for key, value in row.items() if value in kept)
    if not hits:
        return {}
    key = hits.most_common(1)[0][0]
    named: dict[str, Row] = {}
    for row in rows:
        symbol = row.get(key)
        if isinstance(symbol, str) and possible_name(symbol):
            named.setdefault(symbol, row)
    kinds = _kinds([row for symbol, row in named.items() if symbol in kept])
    return {symbol: _reason(row, kinds) for symbol, row in _paced(named.items()) if symbol not in kept}


def _paced(rows: Iterable[T]) -> Iterator[T]:
    """Yield each row, with a pause after every PAUSE_ROWS."""
    for number, row in enumerate(rows):
        if number % PAUSE_ROWS == PAUSE_ROWS - 1:
            gevent.sleep(PAUSE_S)
        yield row


def _decoded(body: bytes | msgspec.Raw) -> Decoded:
    """Return an object or a list with raw values: decoding a long list at once would block the hub."""
    try:
        value: Decoded = msgspec.json.decode(body, type=Decoded)
    except msgspec.DecodeError:
        return {}
    return value


def _rows(body: bytes | msgspec.Raw, depth: int) -> Iterator[Row]:
    """Yield the objects of every list in a body; lists inside these objects are left out."""
    value = _decoded(body)
    if isinstance(value, list):
        yield from (_row(row) for row in map(_decoded, value) if isinstance(row, dict))
    elif depth:
        for inner in value.values():
            yield from _rows(inner, depth - 1)


def _row(fields: Mapping[str, msgspec.Raw]) -> Row:
    return {field: _plain(value) for field, value in fields.items()}


def _plain(value: msgspec.Raw) -> str | bool | None:
    letters = memoryview(value)
    if letters[0] == TEXT:
        text: str = msgspec.json.decode(value)
        return text
    return TRUTH.get(bytes(letters)) if len(letters) <= LONGEST_TRUTH else None


def _kinds(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Return the fields that describe the kind of a row, with their values in kept rows, the fewest values first."""
    values: dict[str, set[str]] = {}
    for row in _paced(rows):
        for field, value in row.items():
            values.setdefault(field, set()).add("" if value is None else str(value))
    few = {field: known for field, known in values.items() if "" not in known and len(known) <= FEW and (
        len(known) == 1 or (len(known) * EACH <= len(rows) and not any(value.replace(".", "").isdigit() for value in known)))}
    return dict(sorted(few.items(), key=lambda item: len(item[1])))


def _reason(row: Row, kinds: Mapping[str, set[str]]) -> str:
    differences = [f"{field} {row[field]}" for field, known in kinds.items()
            if row.get(field) is not None and str(row[field]) not in known]
    return ", ".join(differences[:SHOWN])[:LONGEST_REASON] or "the list gives no reason"
