"""A collector's listing part, with a board in memory, that can be started again on the same data folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import ListingSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.watch import Watch
from pumpwatch.model import Listing
from pumpwatch.net.http import Response
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.listing.board_server import FakeBoard, row

KITE = "카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)"
ORDER = "오덜리(ORDER) KRW 마켓 디지털 자산 추가"
OLD = "랠리(RLY) 거래지원 종료 안내 (12/22 15:00)"
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"


class Machine:
    """Polls `boards`, by address. seen: the listings that were announced."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.board = folder, FakeBoard()
        self.boards = {self.board.url: self.board}
        self.clock, self.stats = FakeClock(), Stats()
        self.seen: list[Listing] = []
        self.quarantined: list[Quarantined] = []
        self.ledger = Ledger(folder)
        self.start()

    def context(self, ledger: Ledger | None = None, on_listing: Callable[[Listing], None] | None = None) -> IntakeContext:
        """Return a context on this machine's ledger, clock and records."""
        return IntakeContext(ledger=ListingLedger(ledger or self.ledger), clock=self.clock, stats=self.stats,
                             on_listing=on_listing or self.seen.append, record=self.record)

    def start(self, source: ListingSource = UPBIT, *, url: str | None = None, ledger: Ledger | None = None,
              **options: Any) -> None:
        """Watch a source, at this machine's board where no other address is given."""
        self.watch = Watch(source, self.fetch, self.context(ledger), url=self.board.url if url is None else url, **options)

    def fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        """Answer as the board at this address does."""
        if url not in self.boards:
            raise ServiceUnavailable(f"{url}: connection refused")
        return self.boards[url].fetch(url, headers)

    def record(self, records: Records) -> None:
        self.quarantined += records.quarantine

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.folder)
        self.start()

    def poll(self, times: int = 1) -> list[str]:
        """Poll every 5 s and return the coins that were announced meanwhile."""
        before = len(self.seen)
        for _ in range(times):
            self.clock.advance(5)
            self.watch.poll()
        return [listing.symbol for listing in self.seen[before:]]

    def publish(self, number: int, title: str, age_s: float = 1) -> None:
        self.board.rows.insert(0, row(number, title, self.clock.now_ns() - int(age_s * NS_PER_S)))
