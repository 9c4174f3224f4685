"""Lists of markets: what was there is never announced, what opens is, and a broken list announces nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from pumpwatch_plugins.sources.bithumb import BITHUMB_MARKETS

from pumpwatch.errors import StorageError
from pumpwatch.listing.market_intake import LOOKED_ID, MANY, UNSEEN
from pumpwatch.listing.watch import Watch
from pumpwatch.model import Listing
from pumpwatch.net.http import Response
from pumpwatch.store.ledger import Ledger
from tests.listing.machine import HTML, Machine

COINS = [f"C{number}" for number in range(40)]


class Exchange(Machine):
    """A machine that watches a list of markets; `coins` is the list, `answers` come before it."""

    def __init__(self, folder: Path) -> None:
        self.coins = list(COINS)
        self.answers: list[tuple[int, bytes]] = []
        super().__init__(folder)

    def start(self, *args: object, ledger: Ledger | None = None, **options: object) -> None:
        self.watch = Watch(BITHUMB_MARKETS, self.fetch, self.context(ledger))

    def fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        status, body = self.answers.pop(0) if self.answers else (200, listed(self.coins))
        return Response(status, {}, body)


def listed(coins: Sequence[str]) -> bytes:
    return json.dumps([{"market": f"KRW-{coin}"} for coin in coins] + [{"market": "BTC-ETH"}]).encode()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    made = Exchange(tmp_path)
    yield made
    made.ledger.close()


def test_a_market_that_appears_is_a_listing_and_those_of_the_first_look_are_not(exchange: Exchange) -> None:
    assert exchange.poll(3) == []
    exchange.coins.append("KITE")
    assert exchange.poll(3) == ["KITE"]
    (listing,) = exchange.seen
    assert (listing.source, listing.exchange, listing.notice_id, listing.kind) == (
        "bithumb_markets", "bithumb", "KRW-KITE", "market_opened")
    assert listing.announced_at_ns == listing.detected_at_ns
    exchange.restart()
    assert exchange.poll(3) == []


@pytest.mark.parametrize("answer", [
    (200, b""), (200, b"[]"), (200, HTML), (403, HTML), (429, b""), (500, b""), (200, listed(COINS)[:300]),
    (200, listed(COINS[:20])), (200, listed([])), (200, listed(list(reversed(COINS))))])
def test_a_list_that_is_empty_half_or_something_else_announces_nothing_and_neither_does_the_whole_one_after_it(
        exchange: Exchange, answer: tuple[int, bytes]) -> None:
    exchange.answers = [answer]
    assert exchange.poll(30) == []
    exchange.answers = [answer] * 3
    assert exchange.poll(60) == []
    exchange.coins.append("KITE")
    assert exchange.poll(30) == ["KITE"]


def test_a_market_that_is_delisted_and_back_is_known(exchange: Exchange) -> None:
    exchange.poll(2)
    gone = exchange.coins.pop()
    exchange.poll(2)
    exchange.coins.append(gone)
    assert exchange.poll(2) == []


def test_a_first_list_that_lacks_many_is_found_out_when_the_whole_one_comes(
        exchange: Exchange, caplog: pytest.LogCaptureFixture) -> None:
    exchange.coins = COINS[:20]
    exchange.poll(3)
    exchange.coins = list(COINS)
    assert exchange.poll(3) == []
    assert sum("markets stored and not announced" in record.message for record in caplog.records) == 1
    exchange.coins += [f"NEW{number}" for number in range(MANY)]
    assert len(exchange.poll(2)) == MANY


def test_a_source_that_is_down_is_logged_once(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    exchange.poll(2)
    exchange.answers = [(403, HTML), (200, HTML), (429, b"")]
    exchange.poll(100)
    assert [record.message.split(" source=")[0] for record in caplog.records if "listing source" in record.message] == [
        "listing source down", "listing source up again"]


def test_a_market_that_opened_while_nothing_was_read_is_recorded_without_a_window(exchange: Exchange) -> None:
    exchange.poll(2)
    exchange.clock.advance(3600)
    exchange.coins.append("KITE")
    assert exchange.poll(2) == []
    assert [(record.listing.symbol, record.problem) for record in exchange.ledger.listings()] == [("KITE", UNSEEN)]


def test_a_market_that_opened_during_a_short_restart_opens_its_window(exchange: Exchange) -> None:
    exchange.poll(20)
    exchange.coins.append("KITE")
    exchange.restart()
    assert exchange.poll(2) == ["KITE"]
    exchange.clock.advance(3600)
    exchange.coins.append("ORDER")
    exchange.restart()
    assert exchange.poll(2) == []
    assert [record.problem for record in exchange.ledger.listings()] == ["", UNSEEN]


class FailingLedger(Ledger):
    """A ledger that fails while `failing`."""

    failing = False

    def seen_notices(self, source: str, notice_ids: Sequence[str]) -> dict[str, str]:
        if self.failing:
            raise StorageError("database is locked")
        return super().seen_notices(source, notice_ids)

    def remember_listing(self, listing: Listing) -> bool:
        if self.failing:
            raise StorageError("disk full")
        return super().remember_listing(listing)


def test_a_failing_ledger_delays_no_market_and_opens_it_once(exchange: Exchange) -> None:
    ledger = FailingLedger(exchange.folder)
    exchange.start(ledger=ledger)
    exchange.poll(2)
    ledger.failing = True
    exchange.coins.append("KITE")
    assert exchange.poll(3) == ["KITE"]
    ledger.failing = False
    assert exchange.poll(3) == []
    assert [record.listing.symbol for record in ledger.listings()] == ["KITE"]
    ledger.close()


def test_a_source_that_is_stopped_reads_no_further_list(exchange: Exchange) -> None:
    exchange.poll(2)
    exchange.coins.append("KITE")
    exchange.watch.stop()
    assert exchange.poll(2) == []


def test_a_market_that_opened_just_after_another_collector_has_looked_gets_its_window(exchange: Exchange) -> None:
    assert exchange.poll(3) == []
    exchange.clock.advance(7200)
    exchange.ledger.remember_notices([exchange.watch._intake._row(LOOKED_ID, str(exchange.clock.now_ns()))])
    exchange.coins.append("KITE")
    assert exchange.poll(1) == ["KITE"]
