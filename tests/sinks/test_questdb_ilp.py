"""Lines made by column are, byte for byte, the lines made one by one; only empty lines stand between them."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pumpwatch_plugins.sinks import questdb_ilp
from pumpwatch_plugins.sinks.questdb_ilp import Encoder

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, SPOT, Instrument, TradeBatch
from tests.trades import batch_of, catalogue_of

SYMBOLS = ["BTCUSDT", "1000PEPE_USDT", "币安人生USDT", "a b", "a,b=c", "back\\slash", "li\nne", "X"]
IDS = st.one_of(st.integers(0, 9), st.integers(0, 2**63 - 1), st.integers(-(2**63) + 1, -1), st.just(10**18))
TEXTS = st.one_of(st.just(b""), st.sampled_from([b"x", b'"', b"\\", b"a\nb", b"7f1d9c2e-3b1a-4c55-9a61-0d7f3c0f2b11"]))


def catalogue() -> Catalogue:
    made = Catalogue()
    for symbol in SYMBOLS:
        made.add(("binance", SPOT), Instrument(symbol=symbol, base="X", quote="USDT"))
    return made


CATALOGUE = catalogue()


@st.composite
def batches(draw: st.DrawFn) -> TradeBatch:
    rows = draw(st.integers(1, 12))

    def column(dtype: type, values: st.SearchStrategy[object]) -> np.ndarray:  # type: ignore[type-arg]
        return np.array(draw(st.lists(values, min_size=rows, max_size=rows)), dtype)

    times = st.integers(0, 9_214_646_399_999_999_999)
    numbers = draw(arrays.arrays(np.float64, (2, rows), elements=st.floats(allow_nan=False)))
    text_id = column(np.bytes_, TEXTS) if draw(st.booleans()) else None
    return TradeBatch(
        column(np.int64, times), column(np.int32, st.integers(0, len(SYMBOLS) - 1)), numbers[0], numbers[1],
        column(np.uint8, st.integers(0, 1)), column(np.int64, IDS),
        column(np.int64, st.one_of(st.just(NO_SEQUENCE), st.integers(-(2**63) + 1, 2**63 - 1))),
        column(np.int64, times), column(np.uint8, st.sampled_from([0, 0, 1, 255])), text_id)


def line_of(batch: TradeBatch, row: int, table: str) -> bytes:
    """Return one trade's line, made the plain way."""
    def tag(text: str) -> str:
        return "".join("\\" + sign if sign in " ,=\\\n" else sign for sign in text)

    exchange, market_type, symbol = CATALOGUE.names([int(batch.instrument[row])])[0]
    text = batch.id_texts()[row].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\\n")
    sequence, flags = int(batch.sequence_number[row]), int(batch.flags[row])
    return b"".join((
        f"{table},exchange={exchange},market_type={market_type},symbol={tag(symbol)},"
        f"side={('buy', 'sell')[batch.side[row]]} trade_id=\"{text}\",price=".encode(),
        b"=\x10", struct.pack("<d", batch.price[row]), b",quantity==\x10", struct.pack("<d", batch.quantity[row]),
        f",sequence_number={'-' if sequence < 0 else '0'}{abs(sequence):019d}i".encode() * (sequence != NO_SEQUENCE),
        f",flags={flags:019d}i".encode() * (flags != 0),
        f",received_at={batch.received_at[row]:019d}n {batch.timestamp[row]:019d}\n".encode()))


def assert_lines(body: bytes, batch: TradeBatch, table: str) -> None:
    at = 0
    for row in range(len(batch)):
        expected = line_of(batch, row, table)
        while body[at:at + 1] == b"\n":
            at += 1
        assert body[at:at + len(expected)] == expected
        at += len(expected)
    assert body[at:].strip(b"\n") == b""


@given(st.lists(batches(), min_size=1, max_size=3))
def test_lines_are_those_made_one_by_one(sent: list[TradeBatch]) -> None:
    encoder = Encoder("trades")
    for batch in sent:
        assert_lines(encoder.encode(batch, CATALOGUE), batch, "trades")


def test_chunks_and_instruments_that_come_later_change_nothing() -> None:
    batch = batch_of(2 * questdb_ilp.CHUNK_ROWS + 17, first_id=99_990)
    encoder, later = Encoder("t"), catalogue_of(2)
    encoder.encode(batch_of(5, instruments=4), later)
    for number in range(2, 4):
        for venue in (("binance", "spot"), ("binance", "futures")):
            later.add(venue, Instrument(symbol=f"C{number}USDT", base=f"C{number}", quote="USDT"))
    assert encoder.encode(batch, later) == Encoder("t").encode(batch, catalogue_of(4))


def test_no_trades_make_no_lines() -> None:
    assert Encoder("t").encode(TradeBatch.empty(), CATALOGUE) == b""
