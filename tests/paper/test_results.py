"""A run's result keeps its shape on the disk."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.paper.results import (
    ArchiveResult,
    FillRow,
    Latency,
    ListingOutcome,
    RejectedOrder,
    RunResult,
    decode,
    encode,
    read_result,
    write_result,
)

FILL = FillRow(5, "binance.spot", "KITEUSDT", "buy", Decimal("0.1"), Decimal(10), Decimal("0.001"), "taker", "o1")
REJECTED = RejectedOrder(6, "binance.spot", "NOUSDT", "buy", "nan", "unknown symbol", "o2")
OUTCOME = ListingOutcome(300, 5, Decimal("0.1"), Decimal(0), 9, Decimal("0.2"), "time", Decimal("0.003"), Decimal("0.997"),
                  Decimal("99.7"), Decimal(0), (REJECTED,), (FILL,), ((5, Decimal(100)), (9, Decimal("100.997"))))
RESULT = RunResult(run_id="r1", strategy="buy_first", strategy_sha256="ab", seed=1, size=Decimal(1),
                   latency=Latency("fixed", 50.0), made_with="0.1.0", archives=(ArchiveResult("data/KITE", "KITE", 1, (OUTCOME,)),
                                                ArchiveResult("data/NONE", "NONE", 1, (), "no market")))


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_result(tmp_path, RESULT)
    assert path == tmp_path / "paper" / "r1" / "result.json"
    assert read_result(path) == RESULT
    assert [found.name for found in path.parent.iterdir()] == ["result.json"]


def test_the_same_result_is_the_same_bytes_and_amounts_are_text() -> None:
    assert encode(RESULT) == encode(decode(encode(RESULT)))
    assert b'"price": "0.1"' in encode(RESULT)


@pytest.mark.parametrize(("content", "words"), [
    (b"{", "cannot be read"),
    (b'{"schema": 2}', "a newer version wrote it"),
    (b'{"schema": 1, "run_id": 5}', "cannot be read"),
])
def test_another_content_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        decode(content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"result\.json: cannot be read"):
        read_result(tmp_path / "result.json")
