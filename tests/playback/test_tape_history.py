"""The history of a replay knows the played trades alone, and the books that were recorded by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.playback.archived import read_archived
from pumpwatch.playback.tape_history import TapeHistory
from pumpwatch.playback.tape_rows import VenueTape, table_of, tape_of
from tests.playback import made_archive

AFTER_NS = made_archive.ANNOUNCED_NS + 10**9


@pytest.fixture
def tape(tmp_path: Path) -> VenueTape:
    venue = next(venue for venue in read_archived(made_archive.write(tmp_path).path).venues if venue.name == "binance.spot")
    return tape_of(venue, table_of(venue, "SOMI", next(
        dialect for dialect in made_archive.dialects() if dialect.name == venue.name)))


def test_before_the_start_there_is_neither_a_trade_nor_a_level(tape: VenueTape) -> None:
    history = TapeHistory(tape.rows.table, 100)
    book = history.book(0, AFTER_NS)
    assert (len(history.recent(0, 10)), book.bids, book.asks) == (0, (), ())


def test_a_start_puts_the_earlier_trades_in_and_forgets_those_of_the_round_before(tape: VenueTape) -> None:
    history = TapeHistory(tape.rows.table, 100)
    history.begin(tape, 7)
    history.begin(tape, 5)
    assert history.recent(0, 100).ids() == tape.rows.ids()[:5]


def test_the_ticker_has_the_best_prices_of_the_recorded_book_and_the_last_price_where_there_is_none(tape: VenueTape) -> None:
    history = TapeHistory(tape.rows.table, 100)
    history.begin(tape, 5)
    made = history.ticker(0, AFTER_NS)
    assert (made.text("bid"), made.text("ask"), made.trades) == ("0.81000000", "0.83000000", 5)
    early = history.ticker(0, made_archive.ANNOUNCED_NS - 10**6)
    assert early.bid == early.ask == early.last
