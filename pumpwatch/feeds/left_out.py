"""What a venue's own list has and we do not take, and why: for people who look for a symbol.

A plugin's `parse_instruments` says what is kept, and no more. The reasons come from the list itself: a field in which all that
is kept has one of a few values, and this row another (`status BREAK`, `quoteAsset BTC`). No venue is known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pumpwatch.feeds.instruments import possible_name

FEW = 4  # values of a field that says what kind of thing a row is
EACH = 5  # rows, at least, on average, that have each of them
SHOWN = 3  # fields of a reason
LONGEST_REASON = 200  # characters
DEEPEST = 4  # where a list of rows may be in a body

Row = Mapping[str, Any]


def left_out(bodies: Sequence[bytes], kept: set[str]) -> dict[str, str]:
    """Return symbol -> reason for what the lists in the bodies have beside what is kept; nothing where that cannot be told."""
    rows = [row for body in bodies for row in _rows(_decoded(body), DEEPEST)]
    hits = Counter(key for row in rows for key, value in row.items() if isinstance(value, str) and value in kept)
    if not hits:
        return {}
    key = hits.most_common(1)[0][0]
    named = {row[key]: row for row in reversed(rows) if possible_name(row.get(key))}  # of two the first counts
    kinds = _kinds([row for symbol, row in named.items() if symbol in kept])
    return {symbol: _reason(row, kinds) for symbol, row in reversed(named.items()) if symbol not in kept}


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _rows(value: Any, depth: int) -> Iterator[Row]:
    """Yield the objects of every list in a body, those of outer lists only."""
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))
    elif isinstance(value, dict) and depth:
        for one in value.values():
            yield from _rows(one, depth - 1)


def _kinds(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Return the fields that tell kinds apart, with the values that what is kept has in them, the plainest first."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for field, value in row.items():
            values.setdefault(field, set()).add(str(value) if isinstance(value, (str, bool)) else "")
    few = {field: known for field, known in values.items() if "" not in known and len(known) <= FEW and (
        len(known) == 1 or (len(known) * EACH <= len(rows) and not any(one.replace(".", "").isdigit() for one in known)))}
    return dict(sorted(few.items(), key=lambda item: len(item[1])))


def _reason(row: Row, kinds: Mapping[str, set[str]]) -> str:
    told = [f"{field} {row[field]}" for field, known in kinds.items()
            if isinstance(row.get(field), (str, bool)) and str(row[field]) not in known]
    return ", ".join(told[:SHOWN])[:LONGEST_REASON] or "the list does not tell"
