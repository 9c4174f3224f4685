"""News of other members takes effect here, also while the ledger fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import FakeClock
from pumpwatch.cluster import remote_sights
from pumpwatch.cluster.news import EditedNews, Message, News, NoticesNews, PartNews, SentNews, ShownNews, SightNews
from pumpwatch.cluster.remote_sights import RemoteSights
from pumpwatch.cluster.sharing_ledger import SharingLedger
from pumpwatch.errors import StorageError
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.watch import Watch
from pumpwatch.model import Listing, Notice
from pumpwatch.stats import Stats
from pumpwatch.store.evidence import Evidence
from pumpwatch.store.ledger import Ledger
from tests.listing.machine import KITE, ORDER, Machine
from tests.listing.market import ANNOUNCED_NS, listing_of
from tests.redis.waiting import eventually


class Receiver:
    """A member that acts on what it is told. failing: whether its ledger fails."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.clock, self.stats = Ledger(folder), FakeClock(ANNOUNCED_NS + 4_000_000_000), Stats()
        self.opened: list[Listing] = []
        self.earlier: list[Listing] = []
        self.heard: list[object] = []
        self.failing = False
        self.remote = RemoteSights(self.context_of, self.earlier.append, lambda member, news: self.heard.append((member, news)),
                                   self.heard.append)
        self.greenlet = gevent.spawn(self.remote.run)

    def context_of(self, member: str) -> IntakeContext:
        return IntakeContext(ledger=ListingLedger(self.ledger, self.call, member), clock=self.clock, stats=self.stats,
                             on_listing=self.opened.append)

    def call(self, function: object, /, *args: object) -> object:
        if self.failing:
            raise StorageError("the disk is full")
        return function(*args)  # type: ignore[operator]

    def tell(self, *told: News) -> None:
        for number, news in enumerate(told):
            self.remote.add(Message("b", 1, number, 1, news))
        eventually(lambda: self.failing or not self.remote.waiting, "it has acted on all of it", 10)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path)
    yield made
    made.remote.stop()
    made.greenlet.kill()
    made.ledger.close()


def test_a_sight_is_registered_with_its_source_and_times_and_opens_one_window(receiver: Receiver) -> None:
    listing = listing_of()
    receiver.tell(SightNews(listing), SightNews(listing))
    (opened,) = receiver.opened
    assert (opened.key, opened.announced_at_ns, opened.detected_at_ns) == (
        listing.key, listing.announced_at_ns, listing.detected_at_ns)
    assert opened.triggered_at_ns == receiver.clock.now_ns()
    (sight,) = receiver.ledger.sights()
    assert (sight.member, sight.source, sight.seen_at_ns) == ("b", "upbit", listing.detected_at_ns)


def test_a_listing_that_another_source_has_seen_here_is_joined(receiver: Receiver) -> None:
    own = Listing(**{name: getattr(listing_of(), name) for name in Listing.__slots__} | {"source": "web", "exchange": "upbit"})
    assert receiver.ledger.remember_listing(own)
    receiver.tell(SightNews(listing_of()))
    assert receiver.opened == [] and [sight.of_source for sight in receiver.ledger.sights()] == ["web", "web"]


def test_everything_else_is_stored_or_handed_on(receiver: Receiver) -> None:
    notice = Notice(source="upbit", notice_id="6642", title="edited", category="", published_at_ns=1, updated_at_ns=2)
    part = PartNews("KITE:abc", 5, 4)
    receiver.tell(SightNews(listing_of("LATE", notice_id="1"), "its market opened while the list was not read"),
                  SightNews(listing_of()), ShownNews((Evidence("upbit", "6642", 5, "seen", {"raw": "r"}),)),
                  EditedNews(notice, 9),
                  NoticesNews("upbit", ((notice, "krw_listing", "r1"),)), part, SentNews("seen:1"))
    assert {record.problem for record in receiver.ledger.listings()} == {"", "its market opened while the list was not read"}
    assert [listing.symbol for listing in receiver.opened] == ["KITE"]
    assert receiver.ledger.evidence_of(listing_of())[0].facts == {"raw": "r"}
    assert receiver.ledger.sights_of(listing_of())[0].edits == 1
    assert receiver.ledger.seen_notices("upbit", ["6642"]) == {"6642": "r1"}
    assert receiver.heard == [("b", part), "seen:1"]


def test_while_the_ledger_fails_a_fresh_listing_opens_its_window_and_the_rest_waits(
        receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_sights, "TRIES_S", 0.02)
    receiver.failing = True
    receiver.tell(SightNews(listing_of()), SentNews("after"))
    eventually(lambda: receiver.opened, "the window is open", 10)
    gevent.sleep(0.1)
    assert len(receiver.opened) == 1 and receiver.heard == []
    receiver.failing = False
    eventually(lambda: receiver.heard == ["after"], "the rest is done", 10)
    assert len(receiver.opened) == 1 and [record.listing.symbol for record in receiver.ledger.listings()] == ["KITE"]


def test_a_new_poller_of_a_board_knows_the_notices_of_the_last_one_and_announces_the_rest(tmp_path: Path) -> None:
    first, second = Machine(tmp_path / "a"), Machine(tmp_path / "b")
    second.boards = first.boards
    told: list[News] = []
    sharing = dataclasses.replace(first.context(), ledger=SharingLedger(first.ledger, "a", told.append))
    first.watch = Watch(UPBIT, first.fetch, sharing, url=first.board.url)
    first.publish(1, KITE)
    assert first.poll() == []  # the first look of the cluster announces nothing
    first.publish(2, ORDER)
    assert first.poll() == ["ORDER"]
    remote = RemoteSights(lambda member: second.context(), second.seen.append, lambda member, news: None, lambda event_id: None)
    for number, news in enumerate(told):
        remote._act_on(Message("a", 1, number, 1, news))
    assert [listing.symbol for listing in second.seen] == ["ORDER", "ORDER"]  # its window, and perhaps an earlier sight
    second.seen.clear()
    first.clock.advance(5)
    first.publish(3, KITE.replace("KITE", "WREN"))  # nobody looks any more
    second.clock.advance(first.clock.monotonic() - second.clock.monotonic())
    second.watch = Watch(UPBIT, second.fetch, second.context(), url=first.board.url)
    assert second.poll() == ["WREN"]
    for machine in (first, second):
        machine.ledger.close()
