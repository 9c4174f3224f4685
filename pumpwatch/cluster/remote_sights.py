"""Acts on other members' news of listings: registers their sights, opens windows, remembers the notices of boards.

A sight is handled like a local one: it is stored once, the earliest counts, and the first opens the window. It keeps its source
and its times. An invalid one is rejected and counted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from gevent.event import Event

from pumpwatch.cluster.news import EditedNews, FirstLookNews, Message, NoticesNews, PartNews, SentNews, ShownNews, SightNews
from pumpwatch.errors import BadFrame, StorageError
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.registry import ListingRegistry
from pumpwatch.listing.validation import check_listing, isolated
from pumpwatch.model import Listing
from pumpwatch.printable import printable

log = logging.getLogger(__name__)

TRIES_S = 5.0  # between two tries while the ledger fails
WAITING_MAX = 50_000


class RemoteSights:
    """Acts on messages in their order. `add` never waits; `run` is the greenlet's body.

    context_of: returns the context for a member's sights, whose ledger publishes nothing. on_earlier: called for a listing that
    another member may have seen earlier. on_part, on_sent: called for PartNews and SentNews.
    """

    def __init__(self, context_of: Callable[[str], IntakeContext], on_earlier: Callable[[Listing], None],
                 on_part: Callable[[str, PartNews], None], on_sent: Callable[[str], None]) -> None:
        self._context_of = context_of
        self._on_earlier, self._on_part, self._on_sent = on_earlier, on_part, on_sent
        self._registries: dict[tuple[str, str], ListingRegistry] = {}
        self._messages: deque[Message] = deque(maxlen=WAITING_MAX)
        self._wake = Event()
        self._stopped = self._failing = False

    def add(self, message: Message) -> None:
        """Queue a message. Beyond WAITING_MAX messages the oldest is dropped and counted."""
        if len(self._messages) == WAITING_MAX:
            self._context_of("").stats.add("cluster_news_dropped_total")
        self._messages.append(message)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Return how many messages wait."""
        return len(self._messages)

    def run(self) -> None:
        """Act on each message until `stop`. Messages wait while the ledger fails, but a fresh listing opens its window."""
        while not self._stopped:
            self._wake.clear()
            try:
                while self._messages:
                    message = self._messages[0]
                    self._act(message)
                    if self._messages[0] is message:  # else it was dropped meanwhile
                        self._messages.popleft()
                self._failing = False
            except StorageError as error:
                if not self._failing:
                    log.warning("news of other members waits reason=%s", printable(error.message))
                self._failing = True
            self._wake.wait(TRIES_S if self._messages else None)

    def stop(self) -> None:
        """End `run`."""
        self._stopped = True
        self._wake.set()

    def _act(self, message: Message) -> None:
        def rejected(error: Exception) -> None:
            reason = error.message if isinstance(error, BadFrame) else f"{type(error).__name__}: {error}"
            self._context_of("").stats.add("cluster_news_rejected_total")
            log.warning("news of another member rejected member=%s reason=%s", printable(message.member), printable(reason))

        isolated(lambda: self._act_on(message), rejected)

    def _act_on(self, message: Message) -> None:
        news, context = message.news, self._context_of(message.member)
        if isinstance(news, SightNews):
            self._register(message, news, context)
        elif isinstance(news, NoticesNews):
            context.ledger.remember_notices(news.rows)
        elif isinstance(news, FirstLookNews):
            context.ledger.first_look_done(news.source)
        elif isinstance(news, ShownNews):
            context.ledger.keep_evidence(news.rows)
        elif isinstance(news, EditedNews):
            context.ledger.edit_sights(news.notice, news.seen_at_ns)
        elif isinstance(news, PartNews):
            self._on_part(message.member, news)
        elif isinstance(news, SentNews):
            self._on_sent(news.event_id)

    def _register(self, message: Message, news: SightNews, context: IntakeContext) -> None:
        now_ns = context.clock.now_ns()
        listing = replace(news.listing, triggered_at_ns=now_ns)
        check_listing(news.listing, max(now_ns, news.listing.detected_at_ns))
        registry = self._registries.setdefault((message.member, listing.source), ListingRegistry(listing.source, context))
        if news.problem:
            registry.add_missed(listing, news.problem)
            return
        registry.add([listing])
        self._on_earlier(listing)
        registry.store()
        registry.log_not_opened()
