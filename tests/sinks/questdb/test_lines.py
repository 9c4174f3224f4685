"""Trades as lines of the client's buffer: rows and frames give the same bytes, and a batch gives the same bytes each time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pumpwatch_plugins.sinks.questdb import lines
from pumpwatch_plugins.sinks.questdb.lines import TradeLines

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import NO_SEQUENCE, SPOT, Instrument, TradeBatch
from tests.trades import batch_of, catalogue_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the client has no other way to a buffer without a connection
    from questdb.ingress import Buffer

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


def bytes_of(batch: TradeBatch, known: Catalogue = CATALOGUE, maker: TradeLines | None = None) -> bytes:
    buffer = Buffer(protocol_version=2)
    (maker or TradeLines("trades")).add(buffer, batch, known)
    return bytes(buffer)


WAYS = {"arrow": (1, True), "objects": (1, False), "rows": (10**9, False)}  # from how many rows on frames are made


@contextmanager
def way(name: str) -> Iterator[None]:
    """Have TradeLines that are made inside work in this way."""
    frame_from, arrow = WAYS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "FRAME_FROM", frame_from)
        patch.setattr(lines, "find_spec", lambda name: find_spec(name) if arrow else None)
        yield


@pytest.fixture(params=WAYS)
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    with way(request.param):
        yield


@settings(max_examples=25)
@given(batches())
def test_rows_and_frames_give_the_same_bytes(batch: TradeBatch) -> None:
    made = []
    for name in WAYS:
        with way(name):
            made.append(bytes_of(batch))
    assert made[0] == made[1] == made[2]


@pytest.mark.usefixtures("either_way")
def test_a_line_has_every_column_that_the_trade_has_and_no_other() -> None:
    batch = TradeBatch(
        np.array([5, 6]), np.array([0, 3], np.int32), np.array([1.5, 2.5]), np.array([0.25, 4.0]), np.array([0, 1], np.uint8),
        np.array([7, -8]), np.array([NO_SEQUENCE, 9]), np.array([10, 11]), np.array([0, 4], np.uint8), np.array([b"", b"u-1"]))
    first, second, rest = bytes_of(batch).split(b"\n")
    assert first.startswith(b"trades,exchange=binance,market_type=spot,symbol=BTCUSDT,side=buy price==\x10")
    assert first.endswith(b',trade_id="7",received_at=10n 5n')
    assert b"symbol=a\\ b,side=sell " in second
    assert second.endswith(b',trade_id="u-1",sequence_number=9i,flags=4i,received_at=11n 6n')
    assert rest == b""


@pytest.mark.usefixtures("either_way")
def test_one_line_a_trade_in_the_order_of_the_batch_also_over_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FRAME_ROWS", 100)
    monkeypatch.setattr(lines, "ARROW_ROWS", 100)
    batch = batch_of(257, first_id=99_900)
    found = re.findall(rb'trade_id="(\d+)"', bytes_of(batch, catalogue_of()))
    assert found == [text.encode() for text in batch.id_texts()]


@pytest.mark.usefixtures("either_way")
def test_an_instrument_added_later_has_its_own_name() -> None:
    growing, maker = catalogue_of(2), TradeLines("trades")
    bytes_of(batch_of(5, instruments=4), growing, maker)
    for number in range(2, 4):
        for venue in (("binance", "spot"), ("binance", "futures")):
            growing.add(venue, Instrument(symbol=f"C{number}USDT", base=f"C{number}", quote="USDT"))
    batch = batch_of(50)
    assert bytes_of(batch, growing, maker) == bytes_of(batch, catalogue_of(4))


def test_no_trades_make_no_lines() -> None:
    assert bytes_of(TradeBatch.empty()) == b""


@pytest.mark.parametrize(("module", "reason"), [
    ("raise ImportError('libarrow.so: cannot open shared object file')", "libarrow.so: cannot open"), ("", "has no attribute"),
    ("__version__ = '15.0.0'\nsystem_memory_pool = string = lambda: 0\narray = lambda *_: 0", "'int' object has no attribute")])
def test_a_pyarrow_that_does_not_work_is_named_once_and_not_used(module: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow" / "__init__.py").write_text(module)
    code = ("import logging; logging.basicConfig(); from questdb.ingress import Buffer\n"
            "from pumpwatch_plugins.sinks.questdb.lines import TradeLines\n"
            "from tests.trades import batch_of, catalogue_of\n"
            "buffer, lines = Buffer(protocol_version=2), TradeLines('t')\n"
            "for _ in range(2): lines.add(buffer, batch_of(1_200), catalogue_of())\n"
            "assert bytes(buffer).count(b't,exchange=') == 2_400")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=60,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pyarrow cannot be used") == 1 and reason in done.stderr


def test_few_trades_are_sent_without_pandas() -> None:
    code = ("import sys; from questdb.ingress import Buffer; from pumpwatch_plugins.sinks.questdb.lines import TradeLines\n"
            "from tests.trades import batch_of, catalogue_of\n"
            "buffer = Buffer(protocol_version=2); TradeLines('t').add(buffer, batch_of(100), catalogue_of())\n"
            "assert len(buffer) > 10_000 and 'pandas' not in sys.modules")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
