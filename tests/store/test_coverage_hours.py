"""An hour as bytes: what is read is what was written, thin hours keep their counts, and damage is an error."""

from __future__ import annotations

import numpy as np
import pytest

from pumpwatch.errors import StorageError
from pumpwatch.store.coverage_hours import Hour, decode, encode, symbols_in
from pumpwatch.store.id_runs import IdRuns, runs_of
from pumpwatch.store.minutes import HOUR_MINUTES, MINUTE_NS, minutes_of
from tests.trades import batch_of

NUMBER = 498_000
START_NS = NUMBER * HOUR_MINUTES * MINUTE_NS
SYMBOLS = {number: f"C{number}" for number in range(8)}


def hour(rows: int = 500) -> Hour:
    batch = batch_of(rows, start_ns=START_NS, step_ns=7 * MINUTE_NS // 60)
    return Hour(minutes_of(batch), runs_of(batch.instrument, batch.trade_id * 2, batch.timestamp))


def same(left: Hour, right: Hour) -> bool:
    return all(np.array_equal(getattr(part, name), getattr(other, name))
               for part, other in ((left.minutes, right.minutes), (left.runs, right.runs))
               for name in part.__dataclass_fields__)


def test_an_hour_is_read_as_it_was_written_under_other_numbers_too() -> None:
    before = hour()
    parts = encode(before, SYMBOLS, NUMBER)
    assert sorted(set(symbols_in(*parts))) == sorted(SYMBOLS.values())
    numbers = {symbol: number for number, symbol in SYMBOLS.items()}
    assert same(decode(*parts, numbers, NUMBER), before)
    turned = decode(*parts, {symbol: 100 - number for symbol, number in numbers.items()}, NUMBER)
    assert (np.diff(turned.minutes.keys()) > 0).all() and (np.diff(turned.runs.instrument) >= 0).all()
    assert turned.minutes.trades.sum() == 500


def test_without_its_sums_an_hour_still_has_its_counts() -> None:
    counts, _ = encode(hour(), SYMBOLS, NUMBER)
    thin = decode(counts, b"", {symbol: number for number, symbol in SYMBOLS.items()}, NUMBER)
    assert thin.thin and thin.minutes.trades.sum() == 500 and thin.minutes.volume.sum() == 0 and len(thin.runs) == 0
    assert encode(thin, SYMBOLS, NUMBER)[1] == b""


def test_an_hour_of_no_trades_is_read_too() -> None:
    empty = Hour(minutes_of(batch_of(0)), IdRuns.empty())
    assert len(decode(*encode(empty, SYMBOLS, NUMBER), {}, NUMBER).minutes) == 0


def test_a_busy_hour_takes_little_room() -> None:
    batch = batch_of(27_000, start_ns=START_NS, step_ns=HOUR_MINUTES * MINUTE_NS // 27_000, instruments=450)
    parts = encode(Hour(minutes_of(batch), IdRuns.empty()), {number: f"C{number}USDT" for number in range(450)}, NUMBER)
    assert len(parts[0]) + len(parts[1]) < 16 * len(minutes_of(batch))


@pytest.mark.parametrize("damage", [lambda counts, sums: (counts[:-9], sums), lambda counts, sums: (counts, sums[:40]),
                                    lambda counts, sums: (sums, counts), lambda counts, sums: (b"", sums)])
def test_damaged_bytes_are_an_error(damage) -> None:
    with pytest.raises(StorageError, match="damaged"):
        decode(*damage(*encode(hour(), SYMBOLS, NUMBER)), {symbol: number for number, symbol in SYMBOLS.items()}, NUMBER)
