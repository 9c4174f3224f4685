"""Notices dropped by hand reach a running collector once, or are set aside as invalid."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.errors import UsageError
from pumpwatch.hookspecs import ListingSource, Verdict
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.inbox import Inbox, chosen_source, drop, inbox_folder, put_file
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.registry import OPENED_A_MINUTE
from pumpwatch.model import Listing
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger


class Desk:
    def __init__(self, folder: Path) -> None:
        self.config = Config(store=StoreConfig(dir=str(folder)))
        self.clock, self.seen = FakeClock(), list[Listing]()
        self.quarantined: list[Quarantined] = []
        self.ledger = Ledger(folder)
        self.context = IntakeContext(ledger=ListingLedger(self.ledger), clock=self.clock, stats=Stats(),
                                     on_listing=self.seen.append, record=self.record)
        self.inbox = Inbox(inbox_folder(self.config), self.context)

    def record(self, records: Records) -> None:
        self.quarantined += records.quarantine


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_a_dropped_file_is_readable_by_owner_and_group_only_and_belongs_to_the_owner_of_the_data_folder(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        dropped = Path(drop(Config(store=StoreConfig(dir=str(tmp_path / "data"))), "PEPE")["file"])
        put_file(dropped.with_suffix(".renew"), b"{}", "request")
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in (dropped.parent, *dropped.parent.iterdir())} == {
        "inbox": 0o750, dropped.name: 0o640, dropped.with_suffix(".renew").name: 0o640}
    assert {path.stat().st_uid for path in (dropped.parent, dropped)} == {(tmp_path / "data").stat().st_uid}


def test_a_dropped_notice_becomes_a_listing_once(desk: Desk) -> None:
    desk.inbox.poll()
    dropped = drop(desk.config, "pepe", clock=desk.clock)
    assert dropped["symbol"] == "PEPE"
    desk.clock.advance(0.5)
    desk.inbox.poll()
    desk.inbox.poll()
    (listing,) = desk.seen
    assert (listing.source, listing.symbol, listing.notice_id) == ("fake", "PEPE", dropped["notice_id"])
    assert listing.announced_at_ns == dropped["announced_at_ns"] == listing.detected_at_ns - 500_000_000
    assert [record.listing for record in desk.ledger.listings()] == [listing]
    (shown,) = desk.ledger.evidence_of(listing)
    assert (shown.event, shown.at_ns, shown.facts["answer"]) == ("seen", listing.detected_at_ns, None)
    assert json.loads(shown.facts["raw"])["notice_id"] == listing.notice_id
    assert list(inbox_folder(desk.config).iterdir()) == []


def test_what_was_dropped_while_nobody_looked_is_taken_as_long_as_its_trades_are_kept(desk: Desk) -> None:
    drop(desk.config, "PEPE", clock=desk.clock)
    desk.clock.advance(3600)
    drop(desk.config, "KITE", clock=desk.clock)
    desk.clock.advance(47.5 * 3600)
    desk.inbox.poll()
    assert [listing.symbol for listing in desk.seen] == ["KITE"]
    assert list(inbox_folder(desk.config).iterdir()) == []


def test_a_file_that_is_not_a_notice_is_set_aside(desk: Desk) -> None:
    folder = inbox_folder(desk.config)
    folder.mkdir()
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text('{"notice_id": "1", "symbol": "../../etc", "announced_at_ns": 1}')
    (folder / "c.json.partial").write_text("{")
    desk.inbox.poll()
    assert desk.seen == []
    assert sorted(path.name for path in folder.iterdir()) == ["a.rejected", "b.rejected", "c.json.partial"]


@pytest.mark.parametrize("fields", [
    {"symbol": "../../x"}, {"symbol": ""}, {"symbol": "X" * 21}, {"announced_at_ns": 0},
    {"announced_at_ns": 1_924_992_000 * NS_PER_S}, {"announced_at_ns": 2**62}, {"announced_at_ns": 2**64},
    {"announced_at_ns": -(2**63)}, {"announced_at_ns": 1.5}, {"notice_id": ""}, {"notice_id": "a\nb"}, {"notice_id": "x" * 101},
    {"title": "x" * 2001}, {"unknown": 1}])
def test_an_invalid_notice_file_is_quarantined_and_set_aside(desk: Desk, fields: dict[str, Any]) -> None:
    folder = inbox_folder(desk.config)
    folder.mkdir()
    good = {"notice_id": "1", "symbol": "KITE", "announced_at_ns": desk.clock.now_ns(), "title": "t"}
    (folder / "a.json").write_text(json.dumps(good | fields))
    (folder / "b.json").write_text(json.dumps(good))
    for _ in range(3):
        desk.inbox.poll()
    assert [listing.symbol for listing in desk.seen] == ["KITE"]
    assert [path.name for path in folder.iterdir()] == ["a.rejected"]
    assert [(row.exchange, row.market_type) for row in desk.quarantined] == [("fake", "listing")]


def test_whatever_lies_in_the_inbox_does_not_block_the_rest(desk: Desk) -> None:
    folder = inbox_folder(desk.config)
    (folder / "a.json").mkdir(parents=True)
    (folder / "a.json" / "full").write_text("")
    os.mkfifo(folder / "b.json")
    (folder / "c.json").symlink_to(folder / "c.json")
    (folder / "d.json").symlink_to("/dev/zero")
    with (folder / "e.json").open("wb") as huge:
        huge.truncate(1 << 36)
    (folder / "e.rejected").mkdir()
    (folder / "f.json").write_bytes(b"\xff\xfe{")
    (folder / "f.json").rename(folder / os.fsdecode(b"\xff.json"))
    drop(desk.config, "PEPE", clock=desk.clock)
    desk.inbox.poll()
    assert [listing.symbol for listing in desk.seen] == ["PEPE"]
    left = sorted(os.fsencode(path.name) for path in folder.iterdir())
    assert left == [b"a.rejected", b"b.rejected", b"c.rejected", b"d.rejected", b"e.1.rejected", b"e.rejected",
                    b"\xff.rejected"]
    desk.inbox.poll()
    assert len(desk.quarantined) == 6


def test_of_thousands_of_dropped_notices_few_open_a_window_and_all_are_recorded(
        desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(150):
        drop(desk.config, f"C{number:03d}", clock=desk.clock)
        desk.clock.advance(0.001)
    for _ in range(3):
        desk.inbox.poll()
    assert len(desk.seen) == OPENED_A_MINUTE
    assert len(desk.ledger.listings()) == 150
    assert list(inbox_folder(desk.config).iterdir()) == []
    assert sum("listings not opened" in record.message for record in caplog.records) == 2


@pytest.mark.parametrize("coin", ["", "a b", "../x", "ＰＥＰＥ", "ſ", "X" * 21])
def test_only_a_ticker_can_be_dropped(desk: Desk, coin: str) -> None:
    with pytest.raises(UsageError):
        drop(desk.config, coin)


def judged(title: str) -> Verdict:
    coin, _, rest = title.partition(" ")
    return Verdict("krw_listing", (coin,), needs_body=True) if rest == "on KRW" else Verdict("event", (coin,))


BOARD = ListingSource(name="board", url="https://example.com", headers={}, interval_s=1.0, parse=lambda body: [], verdict=judged,
                      drill_title="{coin} on KRW")


def test_a_drill_of_a_board_is_judged_by_its_rules_and_dated_back(desk: Desk) -> None:
    desk.inbox = Inbox(inbox_folder(desk.config), desk.context, {"board": BOARD})
    dropped = drop(desk.config, "pepe", source=BOARD, delay_s=2.5, clock=desk.clock)
    desk.inbox.poll()
    (listing,) = desk.seen
    assert (listing.source, listing.symbol, listing.title) == ("board", "PEPE", "PEPE on KRW")
    assert listing.drill and listing.needs_body and listing.notice_id.startswith("drill-")
    assert listing.detected_at_ns - listing.announced_at_ns == 2_500_000_000 and dropped["source"] == "board"
    assert [record.listing for record in desk.ledger.listings()] == [listing]
    assert desk.ledger.notice_count("board") == 0  # or the board's first look would announce all of its notices


@pytest.mark.parametrize(("source", "title", "reason"), [
    (BOARD, "PEPE wins a prize", "its title is not a KRW listing of PEPE on board: kind event, coins PEPE"),
    (BOARD, "KITE on KRW", "its title is not a KRW listing of PEPE on board: kind krw_listing, coins KITE"),
    (replace(BOARD, name="other"), "PEPE on KRW", "no notice board `other` is read: board")])
def test_a_drill_that_its_board_would_not_announce_is_set_aside(
        desk: Desk, source: ListingSource, title: str, reason: str) -> None:
    desk.inbox = Inbox(inbox_folder(desk.config), desk.context, {"board": BOARD})
    drop(desk.config, "PEPE", source=source, title=title, clock=desk.clock)
    desk.inbox.poll()
    assert desk.seen == [] and [row.reason for row in desk.quarantined] == [reason]


def test_a_drill_that_cannot_be_is_an_error(desk: Desk) -> None:
    with pytest.raises(UsageError, match="longer than trades are kept"):
        drop(desk.config, "PEPE", delay_s=73 * 3600)
    with pytest.raises(UsageError, match="no title for a drill"):
        drop(desk.config, "PEPE", source=replace(BOARD, drill_title=""))
    with pytest.raises(UsageError, match="no notice board `nowhere` is read; known: upbit"):
        chosen_source(desk.config, "nowhere")
    assert chosen_source(desk.config, "upbit").name == "upbit"
