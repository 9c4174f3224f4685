"""A share of the instruments: the same on every machine, nested, and as large as it says."""

from __future__ import annotations

import numpy as np

from pumpwatch.model import Instrument
from pumpwatch.store.share import Share, bucket_of
from tests.trades import batch_of, catalogue_of


def test_a_bucket_never_changes() -> None:
    assert [bucket_of(("binance", "spot", symbol)) for symbol in ("BTCUSDT", "ETHUSDT", "PEPEUSDT")] == [96, 98, 30]
    assert bucket_of(("binance", "futures", "BTCUSDT")) != bucket_of(("binance", "spot", "BTCUSDT"))


def test_a_share_is_about_as_large_as_it_says_and_contains_every_smaller_one() -> None:
    catalogue = catalogue_of(2500)
    sizes, before = [], set()
    for percent in (0, 10, 50, 100):
        chosen = set(Share(catalogue, percent).ids())
        assert before <= chosen
        sizes.append(len(chosen))
        before = chosen
    assert sizes[0] == 0 and 400 < sizes[1] < 600 and 2300 < sizes[2] < 2700 and sizes[3] == 5000


def test_the_trades_of_the_chosen_instruments_stay_in_their_order() -> None:
    catalogue, batch = catalogue_of(), batch_of(1000)
    share = Share(catalogue, 50)
    chosen = share.of(batch)
    assert 0 < len(chosen) < 1000
    assert chosen.trade_id.tolist() == [number for number, instrument in zip(batch.trade_id.tolist(), batch.instrument.tolist(),
                                                                             strict=True) if instrument in share.ids()]
    share.percent = 100
    assert share.of(batch) is batch
    share.percent = 0
    assert not len(share.of(batch))


def test_an_instrument_that_comes_later_has_a_bucket_too() -> None:
    catalogue = catalogue_of(1)
    share = Share(catalogue, 100)
    assert len(share.ids()) == 2
    number = catalogue.add(("okx", "spot"), Instrument(symbol="NEW-USDT", base="NEW", quote="USDT"))
    assert share.ids() == [0, 1, number]
    assert share.buckets()[number] == bucket_of(("okx", "spot", "NEW-USDT"))
    assert share.buckets().dtype == np.uint8
