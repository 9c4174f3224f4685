"""A batch comes back to the bit, in few bytes, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pumpwatch.errors import StorageError
from pumpwatch.model import NO_SEQUENCE, TradeBatch
from pumpwatch.store import codec
from tests.corpus import needs_corpus, rows
from tests.trades import batch_of

INT64 = st.integers(-(2**63), 2**63 - 1)


def same(one: TradeBatch, other: TradeBatch) -> bool:
    """Return whether two batches are equal to the bit, types included."""
    return all(a is b is None or (a is not None and b is not None and a.dtype == b.dtype and a.tobytes() == b.tobytes())
               for a, b in zip(one.columns(), other.columns(), strict=True))


@st.composite
def batches(draw: st.DrawFn) -> TradeBatch:
    """Batches of any content: extremes, NaN payloads, denormals, texts; and decimals as exchanges send them."""
    count = draw(st.integers(0, 40))

    def column(dtype: type, elements: st.SearchStrategy[object] | None = None) -> np.ndarray:
        return draw(arrays.arrays(dtype, count, elements=elements))

    def numbers() -> np.ndarray:
        if draw(st.booleans()):
            return column(np.uint64, st.integers(0, 2**64 - 1)).view(np.float64)
        digits = draw(st.integers(0, 12))
        return column(np.int64, st.integers(0, 10**9)) / 10.0**digits

    times = column(np.int64, INT64)
    if draw(st.booleans()):
        times = times // 1_000_000 * 1_000_000 if not count or times.min() > -(2**63) + 10**6 else times
    return TradeBatch(
        times, column(np.int32, st.integers(0, draw(st.sampled_from([0, 3, 300, 70_000])))), numbers(), numbers(),
        column(np.uint8, st.integers(0, draw(st.sampled_from([1, 255])))), column(np.int64, INT64),
        column(np.int64, draw(st.sampled_from([INT64, st.just(NO_SEQUENCE)]))), column(np.int64, INT64),
        column(np.uint8, st.integers(0, draw(st.sampled_from([0, 255])))),
        draw(st.one_of(st.none(), arrays.arrays("S9", count))))


@settings(max_examples=60)
@given(batches())
def test_any_batch_comes_back_to_the_bit_grouped_by_instrument(batch: TradeBatch) -> None:
    assert same(codec.decode(codec.encode(batch)), codec.grouped(batch))


@settings(max_examples=20)
@given(st.lists(batches(), min_size=2, max_size=4))
def test_what_an_encoder_remembers_changes_no_result(several: list[TradeBatch]) -> None:
    encoder, decoder = codec.BatchEncoder(), codec.BatchDecoder()
    for batch in several:
        assert same(decoder.decode(encoder.encode(batch)), codec.grouped(batch))


@settings(max_examples=30)
@given(batches(), st.data())
def test_one_wrong_bit_anywhere_is_a_storage_error(batch: TradeBatch, data: st.DataObject) -> None:
    blob = bytearray(codec.encode(batch))
    bit = data.draw(st.integers(0, len(blob) * 8 - 1))
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StorageError):
        codec.decode(bytes(blob))


@settings(max_examples=30)
@given(batches(), st.data())
def test_a_blob_cut_short_is_a_storage_error(batch: TradeBatch, data: st.DataObject) -> None:
    blob = codec.encode(batch)
    with pytest.raises(StorageError):
        codec.decode(blob[:data.draw(st.integers(0, len(blob) - 1))])


def test_a_newer_version_is_named_as_such() -> None:
    blob = codec.encode(batch_of(3))
    with pytest.raises(StorageError, match="version 2"):
        codec.decode(b"\x02" + blob[1:])


@settings(max_examples=40)
@given(batches())
def test_the_head_tells_which_instruments_are_inside(batch: TradeBatch) -> None:
    head, body = codec.BatchEncoder().encode_parts(codec.grouped(batch))
    assert codec.instruments_in(head).tolist() == sorted(set(batch.instrument.tolist()))
    assert same(codec.decode(head, body), codec.grouped(batch))


@settings(max_examples=40)
@given(st.lists(st.sets(st.sampled_from([0, 1, 5, 200, 300, 70_000, 200_000]), min_size=1), min_size=1, max_size=9),
       st.sets(st.sampled_from([0, 5, 300, 200_000]), min_size=1))
def test_heads_are_sifted_for_the_ones_that_hold_an_instrument(held: list[set[int]], wanted: set[int]) -> None:
    encoder = codec.BatchEncoder()
    heads = []
    for ids in held:
        batch = batch_of(len(ids), start_ns=0)
        batch.instrument[:] = sorted(ids)
        heads.append(encoder.encode_parts(batch)[0])
    assert codec.which_hold(heads, wanted) == [index for index, ids in enumerate(held) if ids & wanted]
    assert codec.which_hold([b"cut", *heads], wanted)[0] == 0, "a damaged head is left to the decoder to name"


def test_grouping_keeps_the_order_inside_an_instrument() -> None:
    batch = codec.grouped(batch_of(5000, instruments=300))
    assert (np.diff(batch.instrument) >= 0).all()
    for number in (0, 299):
        assert (np.diff(batch.trade_id[batch.instrument == number]) > 0).all()


@settings(max_examples=40)
@given(st.integers(1, 5000), st.integers(1, 40), st.integers(1, 700))
def test_split_cuts_without_loss_and_mostly_between_instruments(count: int, instruments: int, piece: int) -> None:
    batch = codec.grouped(batch_of(count, instruments=instruments, start_ns=0))
    parts = list(codec.split(batch, piece))
    assert same(TradeBatch.concat(parts), batch)
    assert all(0 < len(part) <= max(piece * 3 // 2, 1) for part in parts)


def test_decimals_of_an_exchange_are_small_and_odd_floats_still_exact() -> None:
    odd = np.array([0.1 + 0.2, -0.0, 5e-324, np.inf, np.nan, 1e300, 123456789.123456789])
    batch = batch_of(2000, instruments=1)
    plain = len(codec.encode(batch))
    batch.price[100:107] = odd
    assert same(codec.decode(codec.encode(batch)), batch)
    assert len(codec.encode(batch)) < plain + 20 * len(odd), "a few odd rows cost themselves alone"


@needs_corpus
@pytest.mark.parametrize(("name", "limit"), [
    ("binance_usdm_btcusdt_20240808", 6), ("binance_spot_btcusdt_20240808", 7)])
def test_recorded_trades_take_few_bytes(name: str, limit: float) -> None:
    recorded = [(trade, row["received_ns"]) for row in rows(f"{name}.jsonl.gz") for trade in row["expected"]][:5000]
    count = len(recorded)
    batch = TradeBatch(
        np.array([trade["timestamp_ns"] for trade, _ in recorded]), np.zeros(count, np.int32),
        np.array([float(trade["price"]) for trade, _ in recorded]),
        np.array([float(trade["quantity"]) for trade, _ in recorded]),
        np.array([trade["side"] == "sell" for trade, _ in recorded], np.uint8),
        np.array([int(trade["trade_id"]) for trade, _ in recorded]), np.full(count, NO_SEQUENCE),
        np.array([received for _, received in recorded]), np.zeros(count, np.uint8))
    blob = codec.encode(batch)
    assert same(codec.decode(blob), batch)
    assert len(blob) / count < limit
