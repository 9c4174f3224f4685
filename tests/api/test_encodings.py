"""Trades as bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from pumpwatch.api.encodings import FORMATS, PIECE_ROWS, TradeRow, trade_rows
from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, SPOT, Instrument, TradeBatch
from pumpwatch.store.trade_rows import TRADE_FIELDS, trade_columns, trade_records
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()
START_NS = 1_795_000_000 * 10**9


def batches() -> list[TradeBatch]:
    first = batch_of(PIECE_ROWS + 10, start_ns=START_NS, seed=1)
    sequence = np.arange(len(first), dtype=np.int64)
    sequence[::2] = NO_SEQUENCE
    texts = np.array([b"", b"abc", b"quote\"", b"x,y"] * 5, "S8")
    return [replace(first, sequence_number=sequence), replace(batch_of(20, start_ns=START_NS, seed=2), text_id=texts),
            batch_of(3, start_ns=START_NS, instruments=1)]


def expected() -> list[dict[str, object]]:
    return [row for batch in batches() for row in trade_records(batch, CATALOGUE)]


def hostile() -> list[TradeBatch]:
    """Trades whose numbers and texts a format may write in more than one way."""
    numbers = np.array([0.0, -0.0, 1e-4, 9.99e-5, 1.5e-7, 5e-324, 1.0, 0.1, 123456.789, 9_999_999_999_999_998.0, 1e16, 1.5e17,
                        1e22, 1.7976931348623157e308, 100.0, 1 / 3])
    plain = batch_of(len(numbers), start_ns=START_NS, instruments=2, first_id=-3)
    texts = np.array([b"", b",", b'"', b"a\nb", b",\n", b" a", b"\r", b"]", "é".encode()] + [b"x"] * 7, "S8")
    return [replace(plain, price=numbers, quantity=numbers[::-1].copy()), replace(plain, text_id=texts),
            replace(plain, flags=np.full(len(numbers), 255, np.uint8), sequence_number=numbers.argsort())]


def odd_names() -> Catalogue:
    catalogue = Catalogue()
    for symbol in ('A,"B"', "C\nÜ"):
        catalogue.add(("binance", SPOT), Instrument(symbol=symbol, base="A", quote="USDT"))
    return catalogue


def encoded(form: str, given: list[TradeBatch] | None = None) -> list[bytes]:
    def source() -> Iterator[TradeBatch]:
        yield from batches() if given is None else given

    return list(FORMATS[form][1](source(), CATALOGUE))


def test_a_row_has_the_fields_of_every_export() -> None:
    assert TradeRow.__struct_fields__ == TRADE_FIELDS


def test_json_lines_hold_every_field_unchanged() -> None:
    assert [json.loads(line) for line in b"".join(encoded("ndjson")).splitlines()] == expected()


def test_json_lines_are_those_of_one_object_a_trade() -> None:
    catalogue, given = odd_names(), [*hostile(), batch_of(2 * PIECE_ROWS + 1, instruments=2)]
    plain = b"".join(msgspec.json.encode(row) + b"\n" for batch in given for row in trade_rows(batch, catalogue))
    assert b"".join(FORMATS["ndjson"][1](given, catalogue)) == plain


def test_csv_is_that_of_the_standard_library() -> None:
    catalogue, given, text = odd_names(), [*hostile(), batch_of(2 * PIECE_ROWS + 1, instruments=2)], io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TRADE_FIELDS)
    for batch in given:
        writer.writerows(zip(*trade_columns(batch, catalogue).values(), strict=True))
    assert b"".join(FORMATS["csv"][1](given, catalogue)) == text.getvalue().encode()


def test_csv_has_a_header_and_the_same_values() -> None:
    rows = list(csv.DictReader(io.StringIO(b"".join(encoded("csv")).decode(), newline="")))
    assert rows == [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected()]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_columns_hold_the_same_values_and_times_are_times(form: str) -> None:
    content = io.BytesIO(b"".join(encoded(form)))
    table = pyarrow.ipc.open_stream(content).read_all() if form == "arrow" else parquet.read_table(content)
    assert str(table.schema.field("timestamp").type) == "timestamp[ns, tz=UTC]"
    for name in ("timestamp", "received_at"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pyarrow.int64()))
    assert table.to_pylist() == expected()


@pytest.mark.parametrize("form", FORMATS)
def test_an_answer_without_trades_is_whole(form: str) -> None:
    content = b"".join(encoded(form, []))
    if form == "arrow":
        assert pyarrow.ipc.open_stream(io.BytesIO(content)).read_all().num_rows == 0
    elif form == "parquet":
        assert parquet.read_table(io.BytesIO(content)).num_rows == 0
    else:
        assert content == (b"" if form == "ndjson" else (",".join(TRADE_FIELDS) + "\n").encode())


@pytest.mark.parametrize("form", FORMATS)
def test_no_more_than_a_batch_is_held_at_a_time(form: str) -> None:
    taken = 0

    def source() -> Iterator[TradeBatch]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield batch_of(5000, seed=number)

    pieces = FORMATS[form][1](source(), CATALOGUE)
    sizes = [len(next(pieces)) for _ in range(3)]
    assert taken <= 3 and max(sizes) < 5_000_000
