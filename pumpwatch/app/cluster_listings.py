"""Join the listings of a collector with those of the other members of its cluster.

The members with a role of the boards poll them; all members register each listing and open its window. Each gives its part of
the window; the leader joins the parts, sends the messages, and offers the listing to the sinks. While Redis is away for longer
than a lease, every member polls the boards, and the last leader sends messages: twice is better than never.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import gevent

from pumpwatch.app.parts import ClusterPlace, CollectorParts
from pumpwatch.catalogue import VenueKey
from pumpwatch.clock import NS_PER_S
from pumpwatch.cluster.listing_news import ListingNews
from pumpwatch.cluster.news import Message, PartNews, SentNews
from pumpwatch.cluster.part_codec import Interval, Reading
from pumpwatch.cluster.remote_sights import RemoteSights
from pumpwatch.cluster.roles import BOARDS, LEADER
from pumpwatch.cluster.sharing_ledger import SharingLedger
from pumpwatch.cluster.window_parts import TTL_S, WindowParts, window_name
from pumpwatch.cluster.window_sharing import WAIT_S, WindowSharing
from pumpwatch.errors import StorageError
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import Call, ListingLedger
from pumpwatch.listing.publication import Publisher
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.model import Listing
from pumpwatch.store.coverage import CoverageFile, Watched
from pumpwatch.store.ledger import Ledger

log = logging.getLogger(__name__)

LOOK_S = 1.0
UNSTORED_NS = NS_PER_S  # a kill loses trades in memory, which may be older than the last stored one
PUBLISHED = "published:"  # with the key of a listing: every sink has it
Key = tuple[str, str, str]


class ClusterListings:
    """The listings of one member: create it, `connect` it, `start` it.

    impatient: the ledger of sources, which gives up soon. patient: the ledger of windows.
    """

    def __init__(self, collector: CollectorParts, member: ClusterPlace, impatient: Ledger, patient: Ledger,
                 offload: Call) -> None:
        self._collector, self._cluster = collector, member
        self._patient, self._impatient = ListingLedger(patient), impatient
        prefix = collector.config.redis.prefix
        self.news = ListingNews(member.redis, prefix, member.name, member.member, collector.clock, collector.stats, self._receive)
        self.ledger = SharingLedger(impatient, member.member, self.news.publish)
        self.sharing = WindowSharing(WindowParts(member.redis, prefix, member.name, member.member, offload), self, self._reads,
                                     self.news.publish, collector.clock, offload)
        self._remote: RemoteSights | None = None
        self._windows: WindowKeeper | None = None
        self._publisher: Publisher | None = None
        self._led = self._stopped = False

        member.on_role(self._role)
        collector.notifying.tells = self.tells
        collector.notifying.on_told = self._event_told

    def connect(self, windows: WindowKeeper, publisher: Publisher, intake: IntakeContext,
                opened: Callable[[Listing], None]) -> None:
        """Apply the news of other members to these windows. `opened` is called for each window that one of them opens."""
        self._windows, self._publisher = windows, publisher
        contexts: dict[str, IntakeContext] = {}

        def context_of(member: str) -> IntakeContext:
            if member not in contexts:
                contexts[member] = dataclasses.replace(
                    intake, ledger=ListingLedger(self._impatient, member=member), on_listing=opened)
            return contexts[member]

        self._remote = RemoteSights(context_of, windows.correct, self._part_came, self._mark_sent_elsewhere)

    def start(self) -> None:
        """Begin to send and to receive news."""
        assert self._remote is not None
        spawn = self._collector.supervisor.spawn
        spawn("listing news", self.news.run)
        spawn("remote sights", self._remote.run)
        spawn("cluster listings", self._look)

    def stop(self) -> None:
        """Stop sending and receiving news."""
        self._stopped = True
        self.news.stop()
        if self._remote is not None:
            self._remote.stop()

    def polls(self) -> bool:
        """Return whether this member polls the boards now."""
        coordinator = self._cluster.coordinator
        return coordinator.away or (self.news.caught_up and not coordinator.roles.isdisjoint(BOARDS))

    def leads(self) -> bool:
        """Return whether this member is the leader, which joins the parts."""
        return LEADER in self._cluster.coordinator.roles

    def leader(self) -> str:
        """Return the name of the leader; empty if it is unknown."""
        return next((str(row["member"]) for row in self._cluster.coordinator.member_rows() if LEADER in row["roles"]), "")

    def alive(self) -> set[str]:
        """Return the names of the living members, including this one."""
        rows = self._cluster.coordinator.member_rows()
        return {str(row["member"]) for row in rows if row["state"] != "dead"} | {self._cluster.member}

    def tells(self) -> bool:
        """Return whether this member sends messages about listings: the leader, or while Redis is away the last leader."""
        if self.leads():
            return True
        return self._cluster.coordinator.away and (self._led or not self.alive() - {self._cluster.member})

    def began(self, listing: Listing) -> None:
        """Record that a window was opened here."""
        self.sharing.began([listing])

    def _receive(self, message: Message) -> None:
        if self._remote is not None:
            self._remote.add(message)

    def _role(self, role: str, holds: bool) -> None:
        if role == LEADER and holds:
            self._led = True
            self._collector.supervisor.spawn("lead", self._lead)

    def _lead(self) -> None:
        """Take over as the leader: join the parts of recent windows, and send messages that the last leader may not have sent."""
        since_ns = self._collector.clock.now_ns() - int(TTL_S * NS_PER_S)
        self._look_again(lambda name: True, since_ns)
        gevent.sleep(WAIT_S)  # until archives are joined, and the messages of the last leader are known
        try:
            if self.leads():
                self._collector.notifying.take_over(since_ns)
        except StorageError as error:
            log.warning("messages that the last leader has not sent are not known reason=%s", error.message)

    def _look(self) -> None:
        """Send the parts that could not be sent while Redis was away, and notice when another member leads."""
        while not self._stopped:
            gevent.sleep(LOOK_S)
            if self._cluster.coordinator.away:
                continue
            self._led = self._led and self.leads()
            if self.sharing.not_put and self._cluster.redis.up:
                names, self.sharing.not_put = self.sharing.not_put, set()
                self._look_again(names.__contains__)

    def _look_again(self, wanted: Callable[[str], bool], since_ns: int = 0) -> None:
        """Join the parts of written windows again, if their name is wanted and their listings were seen since a time (ns UTC)."""
        archives: dict[str, list[Listing]] = {}
        try:
            for record in self._patient.listings():
                if record.archive:
                    archives.setdefault(record.archive, []).append(record.listing)
        except StorageError as error:
            log.warning("parts of windows not joined again reason=%s", error.message)
            return
        for archive, listings in archives.items():
            if self._windows is not None and wanted(window_name(listings)) and listings[-1].detected_at_ns >= since_ns:
                self._windows.look_again(listings, Path(archive))

    def _part_came(self, member: str, news: PartNews) -> None:
        if self.sharing.part_arrived(member, news):
            self._look_again(news.window.__eq__)

    def _event_told(self, event_id: str) -> None:
        self.news.publish(SentNews(event_id))

    def published(self, key: Key) -> None:
        """Send news to the other members: every sink has this listing."""
        self.news.publish(SentNews(PUBLISHED + "\n".join(key)))

    def _mark_sent_elsewhere(self, event_id: str) -> None:
        if event_id.startswith(PUBLISHED):
            source, _, rest = event_id.removeprefix(PUBLISHED).partition("\n")
            notice_id, _, symbol = rest.partition("\n")
            if self._publisher is not None:
                self._publisher.published_elsewhere((source, notice_id, symbol))
        else:
            for known in {event_id, self._own_event(event_id)}:
                self._collector.notifying.notifier.mark_sent_elsewhere(known)

    def _own_event(self, event_id: str) -> str:
        """Return the id of an event on this member, where another source may have seen the listing first. Raises StorageError."""
        kind, _, rest = event_id.partition(":")
        place, _, symbol = rest.rpartition(":")
        source, _, notice_id = place.partition(":")
        first = self._patient.first_sight(Listing(source=source, notice_id=notice_id, symbol=symbol, title="", announced_at_ns=0,
                                                  detected_at_ns=0, triggered_at_ns=0))
        return event_id if first is None else f"{kind}:{first.of_source}:{first.of_notice_id}:{symbol}"

    def _reads(self, coin: str, intervals: Sequence[Interval]) -> tuple[Reading, ...] | None:
        """Return when this run read the coin's symbols, and when earlier runs did if a window begins before this run."""
        catalogue, started_ns = self._collector.catalogue, self._collector.started_at_ns
        earlier: Sequence[Watched] = ()
        if any(start < started_ns for start, _ in intervals):
            earlier = self._earlier_watched()
        return tuple(Reading(*catalogue.venues[number], symbol, (
            *spans_before(earlier, catalogue.venues[number], symbol, self._collector.recent.earlier_end_ns - UNSTORED_NS),
            *self._cluster.slice_spans(".".join(catalogue.venues[number]), symbol)))
            for number in catalogue.matching(coin) for symbol in (catalogue.instruments[number].symbol,))

    def _earlier_watched(self) -> Sequence[Watched]:
        """Return the symbols that earlier runs watched. Blocks; runs in a thread of `offload`."""
        try:
            file = CoverageFile(self._collector.folder, read_only=True)
            try:
                return file.watched()
            finally:
                file.close()
        except StorageError:
            return ()


def spans_before(watched: Sequence[Watched], venue: VenueKey, symbol: str, until_ns: int) -> list[Interval]:
    """Return the times [from, to) in which a symbol was watched, up to the last trade that an earlier run stored."""
    rows = sorted((row for row in watched if (row.exchange, row.market_type) == venue), key=lambda row: row.from_ns)
    ends = [*(row.from_ns for row in rows[1:]), until_ns]
    return [(row.from_ns, min(end, until_ns)) for row, end in zip(rows, ends, strict=False)
            if symbol in row.symbols and row.from_ns < min(end, until_ns)]
