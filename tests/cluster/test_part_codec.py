"""A member's part as bytes: there and back, and whatever is damaged is refused."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from pumpwatch.cluster.part_codec import ROWS, decode_part, encode_part
from pumpwatch.errors import StorageError
from pumpwatch.model import NO_SEQUENCE, TradeBatch
from tests.cluster.windows import KITE, gap_of, part_of, same_rows
from tests.trades import batch_of


def test_a_part_comes_back_as_it_was_given() -> None:
    part = part_of("a", KITE, gaps=[gap_of(KITE[0], 1, 2, first_id=5, last_id=9),
                                    gap_of(KITE[1], 3, 4, symbol="", symbols=("X",))])
    found = decode_part(encode_part(part))
    assert found.facts == part.facts
    assert same_rows(found.batch, part.batch)
    assert [books.content for books in found.books] == [books.content for books in part.books]
    assert [snapshot.levels for books in found.books for snapshot in books.snapshots] == [
        snapshot.levels for books in part.books for snapshot in books.snapshots]


def test_trades_of_more_than_one_batch_with_text_ids_come_back() -> None:
    batch = batch_of(2 * ROWS + 100, instruments=3)
    batch = dataclasses.replace(batch, text_id=np.array([b"t%d" % row if row % 3 else b"" for row in range(len(batch))]))
    found = decode_part(encode_part(part_of("a", [], batch=batch))).batch
    assert len(found) == len(batch) and sorted(found.id_texts()) == sorted(batch.id_texts())
    assert int(found.sequence_number[0]) == NO_SEQUENCE


def test_a_part_without_trades_comes_back() -> None:
    assert len(decode_part(encode_part(part_of("a", [], batch=TradeBatch.empty()))).batch) == 0


def test_a_damaged_or_unknown_part_is_rejected() -> None:
    whole = encode_part(part_of("a", KITE))
    for damaged in (b"", b"something else", whole[:-1], whole[:40], whole[:-5] + b"xxxxx",
                    whole[:30] + b"\xff" * 10 + whole[40:]):
        with pytest.raises(StorageError):
            decode_part(damaged)


def test_trades_of_an_instrument_that_the_part_does_not_name_are_refused() -> None:
    part = part_of("a", KITE)
    part = dataclasses.replace(part, facts=msgspec.structs.replace(part.facts, instruments=part.facts.instruments[:1]))
    with pytest.raises(StorageError, match="instruments"):
        decode_part(encode_part(part))
