"""New trades are seen once each, beside the journal's writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.commands.follow import NewTrades, keys_of, without
from pumpwatch.model import SPOT, Instrument
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

START_NS = FakeClock().now_ns()


@pytest.fixture
def catalogue() -> Catalogue:
    return catalogue_of()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, catalogue: Catalogue, clock: FakeClock) -> Iterator[Journal]:
    journal = Journal(tmp_path, catalogue, clock, Stats())
    journal.open()
    yield journal
    journal.close()


def following(folder: Path, coin: str = "C1") -> NewTrades:
    catalogue = Catalogue()
    return NewTrades(folder, catalogue, lambda: catalogue.matching(coin))


def wanted(first_id: int, rows: int = 200) -> list[int]:
    batch = batch_of(rows, first_id=first_id, start_ns=START_NS)
    return batch.take(np.isin(batch.instrument, [2, 3])).trade_id.tolist()  # C1 on both markets


def test_each_trade_of_the_coin_is_seen_once_over_several_files(
        journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    new = following(tmp_path)
    new.start()
    seen: list[int] = []
    for turn in range(3):
        journal.commit(batch_of(200, first_id=1 + 200 * turn, start_ns=START_NS))
        seen += new.look().trade_id.tolist()
        assert len(new.look()) == 0
        clock.advance(3600)
    assert seen == [number for turn in range(3) for number in wanted(1 + 200 * turn)]
    assert len(list(tmp_path.glob("journal/*.sqlite"))) > 1


def test_what_was_stored_before_is_not_new(journal: Journal, tmp_path: Path) -> None:
    journal.commit(batch_of(200, start_ns=START_NS))
    new = following(tmp_path)
    new.start()
    assert len(new.look()) == 0
    journal.commit(batch_of(200, first_id=201, start_ns=START_NS))
    assert new.look().trade_id.tolist() == wanted(201)


def test_a_coin_that_is_listed_meanwhile_is_seen(
        journal: Journal, catalogue: Catalogue, tmp_path: Path) -> None:
    new = following(tmp_path, "FRESH")
    new.start()
    journal.commit(batch_of(200, start_ns=START_NS))
    assert len(new.look()) == 0
    number = catalogue.add(("okx", SPOT), Instrument(symbol="FRESH-USDT", base="FRESH", quote="USDT"))
    batch = batch_of(5, first_id=201, start_ns=START_NS, instruments=1)
    batch.instrument[:] = number
    journal.commit(batch)
    assert new.look().trade_id.tolist() == [201, 202, 203, 204, 205]


def test_a_folder_without_a_journal_has_nothing_new(tmp_path: Path) -> None:
    new = following(tmp_path)
    new.start()
    assert len(new.look()) == 0


def test_trades_that_were_shown_already_are_left_out() -> None:
    batch = batch_of(10, start_ns=START_NS)
    assert without(batch, keys_of(batch.take(slice(0, 4)))).trade_id.tolist() == list(range(5, 11))
