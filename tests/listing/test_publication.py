"""A listing that a sink does not accept is kept, offered again, and given up within bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import PumpWatchError, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import ListingEvent
from pumpwatch.listing.manifest import ArchiveManifest, read_manifest, write_manifest
from pumpwatch.listing.publication import REJECTIONS_MAX, RETRY_MAX_S, RETRY_S, WAITING_MAX, Publisher
from pumpwatch.model import Listing
from pumpwatch.stats import Stats
from tests.listing.market import listing_of
from tests.listing.window_desk import ListingSink

AWAY = ServiceUnavailable("the shelf is away")


class Shop:
    def __init__(self, folder: Path) -> None:
        self.archive = folder / "KITE_20261103T060000Z"
        write_manifest(self.archive, ArchiveManifest(coin="KITE", trades=5))
        self.clock, self.stats = FakeClock(), Stats()
        self.good, self.bad = ListingSink(), ListingSink()
        self.start()

    def start(self) -> None:
        self.publisher = Publisher({"good": self.good, "bad": self.bad}, self.clock, self.stats)

    def publish(self, trades: int = 5) -> None:
        self.publisher.publish(listing_of(), self.archive, trades)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.publisher.retry()

    def unpublished(self) -> tuple[str, ...]:
        found = read_manifest(self.archive)
        assert found is not None
        return found.unpublished


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize("error", [AWAY, PumpWatchError("no such table"), StorageError("full"), ZeroDivisionError()])
def test_a_listing_is_offered_again_to_the_sink_that_did_not_accept_it_and_to_no_other(
        shop: Shop, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    shop.bad.trouble = [error] * 3
    shop.publish()
    assert (len(shop.good.events), shop.publisher.waiting(), shop.unpublished()) == (1, 1, ("bad",))
    shop.wait(RETRY_S - 0.1)
    assert shop.bad.asked == 1
    for _ in range(9):
        shop.wait(RETRY_S)
    assert shop.bad.events == shop.good.events == [("KITE", shop.archive.name, 5)]
    assert (shop.publisher.waiting(), shop.publisher.next_s, shop.unpublished()) == (0, float("inf"), ())
    assert sum("listing not published sink=bad coin=KITE" in record.message for record in caplog.records) == 1


def test_a_sink_that_is_away_for_long_is_asked_ever_more_rarely_and_once_for_all_listings(shop: Shop) -> None:
    shop.bad.trouble = [AWAY] * 10_000
    shop.publish()
    shop.publisher.publish(replace(listing_of("OTHER"), notice_id="2"), shop.archive, 1)
    shop.bad.asked = 0
    for _ in range(24 * 360):
        shop.wait(10)
    assert 24 * 3600 / RETRY_MAX_S <= shop.bad.asked <= 24 * 3600 / RETRY_MAX_S + 10
    assert shop.publisher.waiting() == 2
    shop.bad.trouble.clear()
    shop.wait(RETRY_MAX_S)
    assert len(shop.bad.events) == 2


def test_the_manifest_names_the_sinks_until_the_last_listing_of_the_archive_is_offered(shop: Shop) -> None:
    write_manifest(shop.archive, ArchiveManifest(coin="KITE", trades=5, unpublished=("good", "bad")))
    shop.publisher.publish(listing_of(), shop.archive, 5, last=False)
    assert (len(shop.good.events), shop.unpublished()) == (1, ("good", "bad"))
    shop.publisher.publish(replace(listing_of(), notice_id="2"), shop.archive, 5)
    assert (len(shop.good.events), shop.unpublished()) == (2, ())


def test_a_later_pass_replaces_the_listing_that_waits(shop: Shop) -> None:
    shop.bad.trouble = [AWAY] * 2
    shop.publish(trades=5)
    shop.publish(trades=7)
    shop.wait(RETRY_S)
    assert shop.bad.events == [("KITE", shop.archive.name, 7)]


def test_a_listing_that_a_reachable_sink_keeps_rejecting_is_given_up_until_the_next_start(
        shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.bad.trouble = [PumpWatchError("not this one")] * REJECTIONS_MAX
    shop.publish()
    for _ in range(2 * REJECTIONS_MAX):
        shop.wait(RETRY_MAX_S)
    assert (shop.bad.asked, shop.publisher.waiting()) == (REJECTIONS_MAX, 0)
    assert "listing given up coin=KITE sinks=bad" in caplog.text
    assert shop.unpublished() == ("bad",)
    shop.start()
    shop.publisher.resume(listing_of(), shop.archive, 5, ("bad", "no longer configured"))
    shop.wait(0)
    assert (len(shop.bad.events), shop.unpublished()) == (1, ())


def test_a_listing_that_a_sink_keeps_rejecting_as_if_it_were_away_does_not_block_the_others(shop: Shop) -> None:
    def write(listing: Listing, event: ListingEvent) -> None:
        if listing.symbol == "KITE":
            raise AWAY
        taken.append(listing.symbol)

    taken: list[str] = []
    shop.bad.write_listing = write
    for symbol in ("KITE", "A", "B"):
        shop.publisher.resume(replace(listing_of(symbol), notice_id=symbol), shop.archive, 5, ("bad",))
    shop.wait(RETRY_S)
    assert (taken, shop.publisher.waiting()) == ([], 3)
    shop.wait(RETRY_MAX_S)
    assert (taken, shop.publisher.waiting()) == (["A", "B"], 1)


def test_the_listings_that_wait_are_bounded(shop: Shop) -> None:
    for number in range(WAITING_MAX + 2):
        shop.publisher.resume(replace(listing_of(), notice_id=str(number)), shop.archive, 5, ("bad",))
    assert shop.publisher.waiting() == WAITING_MAX
    assert shop.stats.get("listings_not_published_total") == 2


def test_an_archive_without_a_manifest_is_published_all_the_same(shop: Shop, tmp_path: Path) -> None:
    shop.publisher.publish(listing_of(), tmp_path / "none", 5)
    assert shop.good.events == [("KITE", "none", 5)]
    assert not (tmp_path / "none").exists()


def test_a_listing_waits_while_another_collector_offers_and_goes_once_that_one_has_published_it(shop: Shop) -> None:
    offers, published = [False], list[tuple[str, str, str]]()
    shop.publisher = Publisher({"good": shop.good}, shop.clock, shop.stats, offers=lambda: offers[0],
                               on_published=published.append)
    shop.publish()
    shop.wait(RETRY_S)
    assert (shop.good.events, shop.publisher.waiting(), published) == ([], 1, [])
    shop.publisher.published_elsewhere(listing_of().key)
    assert (shop.publisher.waiting(), shop.unpublished()) == (0, ())
    shop.publish(trades=6)  # a later look has found more
    assert shop.publisher.waiting() == 0
    offers[0] = True
    shop.publish(trades=7)
    assert len(shop.good.events) == 1 and published == [listing_of().key]


def test_a_collector_whose_turn_comes_offers_what_waits(shop: Shop) -> None:
    offers = [False]
    shop.publisher = Publisher({"good": shop.good}, shop.clock, shop.stats, offers=lambda: offers[0])
    shop.publish()
    offers[0] = True
    shop.wait(RETRY_S + 1)
    assert len(shop.good.events) == 1 and shop.publisher.waiting() == 0
