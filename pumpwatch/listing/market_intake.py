"""Process an exchange's list of markets: a market that was never listed before has opened.

The first look stores the markets and announces none. It counts once two lists in a row have the same markets, since a list may be
incomplete. A market that was seen once stays known, so a market that disappears and returns is not announced. More than MANY
unknown markets at once mean that an earlier list was incomplete: they are stored and logged, not announced.

A market is not dated: it opened after the last look that did not have it. If that look was long ago, because the collector or
the exchange was down, the listing is recorded without a window.
"""

from __future__ import annotations

import logging
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.hookspecs import MarketSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.market_rows import MarketRows
from pumpwatch.listing.quarantine import Quarantine
from pumpwatch.listing.registry import ListingRegistry
from pumpwatch.model import Listing, Notice
from pumpwatch.store.evidence import SEEN, Evidence
from pumpwatch.store.sights import MARKET_OPENED

log = logging.getLogger(__name__)

MANY = 8
LOOKED_ID = "\nlooked"  # the time of the last look is stored under this id; a symbol has no newline
LOOKED_EVERY_NS = 60 * NS_PER_S
UNSEEN = "not opened: its market opened while the list was not read"


class MarketIntake:
    """The markets of one source. `process` takes a list, `record_look` records that the list could be read."""

    def __init__(self, source: MarketSource, context: IntakeContext) -> None:
        self.source, self._context, self._ledger = source, context, context.ledger
        self._registry = ListingRegistry(source.name, context)
        self._quarantine = Quarantine(source.name, context)
        self._known: set[str] = set()  # symbols listed in this run
        self._first: set[str] | None = None  # the symbols of a first list, until a second one confirms it
        self._seeded = False
        self._looked_ns = self._noted_ns = 0
        self._answer: dict[str, Any] | None = None  # of the present list
        self._stopped = False

    @property
    def waits_for_bodies(self) -> bool:
        """Return False: a market has no body."""
        return False

    def stop(self) -> None:
        """Process no further list."""
        self._stopped = True

    def process(self, rows: MarketRows, answer: dict[str, Any] | None = None) -> bool:
        """Process a list; return whether every row was processed. Raises StorageError. answer: `answer_facts` of the list."""
        self._answer = answer
        if self._stopped:
            return False
        self._quarantine.record(rows.rejected)
        if not self._seeded and not self._seed(rows.coins):
            return False
        unknown = [symbol for symbol in rows.coins if symbol not in self._known]
        if unknown:
            self._open({symbol: rows.coins[symbol] for symbol in self._never_seen(unknown)})
            self._known.update(unknown)
        return not rows.rejected

    def _seed(self, coins: dict[str, str]) -> bool:
        """Return whether the first look is done: by an earlier run, or because this list confirms the previous one."""
        if self._ledger.notice_count(self.source.name) > 0:
            self._looked_ns = self._last_noted_ns()
        elif self._first != set(coins):
            self._first = set(coins)
            return False
        else:
            self._remember(coins)
            self._ledger.first_look_done(self.source.name)
            self._known.update(coins)
            log.info("first look done source=%s remembered=%d announced=0", self.source.name, len(coins))
        self._seeded = True
        return True

    def _last_noted_ns(self) -> int:
        """Return when any collector last read the list, by the ledger (ns UTC, 0: never). Raises StorageError."""
        noted = self._ledger.seen_notices(self.source.name, [LOOKED_ID]).get(LOOKED_ID, "")
        return int(noted) if noted.isdecimal() else 0

    def _never_seen(self, symbols: list[str]) -> list[str]:
        """Return the symbols that no run has seen; if the ledger fails, all of them, which this run has not seen."""
        try:
            seen = self._ledger.seen_notices(self.source.name, symbols)
        except StorageError:
            if not self._known:
                raise
            seen = {}
        return [symbol for symbol in symbols if symbol not in seen]

    def _open(self, coins: dict[str, str]) -> None:
        """Register the opened markets, then store them. After a StorageError the list is processed again."""
        if not coins:
            return
        if len(coins) > MANY:
            log.warning("markets stored and not announced source=%s markets=%d first=%s reason=so many new ones mean that an "
                        "earlier list was incomplete", self.source.name, len(coins), next(iter(coins)))
        else:
            now_ns = self._context.clock.now_ns()
            missed = now_ns - self._looked_ns > self._registry.fresh_ns and \
                now_ns - self._last_noted_ns() > self._registry.fresh_ns
            for symbol, coin in coins.items():
                listing = Listing(
                    source=self.source.name, notice_id=symbol, symbol=coin, title=f"{symbol}: the market opened",
                    announced_at_ns=now_ns, detected_at_ns=now_ns, triggered_at_ns=now_ns, exchange=self.source.exchange,
                    kind=MARKET_OPENED)
                if missed:
                    self._registry.add_missed(listing, UNSEEN)
                else:
                    self._registry.add([listing])
            self._registry.store()
            self._ledger.keep_evidence([Evidence(self.source.name, symbol, now_ns, SEEN, {"raw": symbol, "answer": self._answer})
                                        for symbol in coins])
            self._registry.log_not_opened()
        self._remember(coins)

    def record_look(self) -> None:
        """Record that the list could be read now, once a minute in the ledger for the next start. Raises StorageError."""
        self._looked_ns = now_ns = self._context.clock.now_ns()
        if self._seeded and now_ns - self._noted_ns >= LOOKED_EVERY_NS:
            self._ledger.remember_notices([self._row(LOOKED_ID, str(now_ns))])
            self._noted_ns = now_ns

    def _remember(self, coins: dict[str, str]) -> None:
        self._ledger.remember_notices([self._row(symbol, coin) for symbol, coin in coins.items()])

    def _row(self, symbol: str, revision: str) -> tuple[Notice, str, str]:
        now_ns = self._context.clock.now_ns()
        notice = Notice(source=self.source.name, notice_id=symbol, title="", category="", published_at_ns=now_ns,
                        updated_at_ns=now_ns)
        return notice, MARKET_OPENED, revision
