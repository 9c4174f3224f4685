"""Listings, events and scripted channels for the tests of messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import gevent

from pumpwatch.model import Listing
from pumpwatch.notify.channels import Channel, Sent
from pumpwatch.notify.events import ListingUpdate, seen

AT_NS = 1_793_685_600_000_000_000  # 2026-11-03T06:00:00Z
TAKEN, FAILED = Sent(True), Sent(False, "it answers HTTP 500")


def listing(coin: str = "KITE", *, drill: bool = False, title: str = "카이트(KITE) 신규 거래지원 안내") -> Listing:
    """Return a listing that was seen 1.2 s after its publication."""
    return Listing(source="upbit", notice_id="6642", symbol=coin, title=title, announced_at_ns=AT_NS,
                   detected_at_ns=AT_NS + 1_200_000_000, triggered_at_ns=AT_NS + 1_201_000_000, drill=drill)


def event(coin: str = "KITE", *, drill: bool = False) -> ListingUpdate:
    """Return the event of that listing."""
    return seen(listing(coin, drill=drill), 600.0)


class Script:
    """A channel that answers from a script, then takes everything. A try waits while `closed` is set."""

    def __init__(self, *answers: Sent) -> None:
        self.answers, self.got = list(answers), list[str]()
        self.opened = threading.Event()
        self.opened.set()

    def channel(self, name: str = "phone", events: tuple[str, ...] = ("seen", "archived"), drills: bool = True) -> Channel:
        """Return the channel."""
        return Channel(name, "url", events, drills, self.send)

    def send(self, event: ListingUpdate) -> Sent:
        """Record an event's coin, and answer."""
        self.got.append(event.coin)
        assert self.opened.wait(60)
        return self.answers.pop(0) if self.answers else TAKEN


def wait_for(condition: Callable[[], bool]) -> None:
    """Let greenlets and threads run until something is true."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        gevent.sleep(0.005)
