"""`notice.json`: every source that saw a listing, with what it showed and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.notice_file import FORMAT, notice_object, seen_of
from pumpwatch.listing.notice_intake import NoticeIntake
from pumpwatch.listing.validation import NoticeRows
from pumpwatch.model import Notice
from tests.listing.machine import KITE, OLD, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


def test_each_source_shows_its_raw_notice_with_the_facts_of_its_answer(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.poll(2)
    machine.publish(7, KITE)
    machine.poll()
    (listing,) = machine.seen
    pushed = Notice(source="pushed", notice_id="x7", title=KITE, category="", published_at_ns=listing.announced_at_ns,
                    updated_at_ns=listing.announced_at_ns, raw='{"type":"announcement"}')
    machine.clock.advance(2)
    NoticeIntake(replace(UPBIT, name="pushed"), machine.context()).deliver(NoticeRows([pushed], [], False))
    machine.board.rows[0]["title"] += " (유통량 안내)"
    machine.poll()

    content = notice_object("KITE", machine.seen, seen_of(ListingLedger(machine.ledger), machine.seen))
    assert (content["format"], content["coin"], len(content["notices"])) == (FORMAT, "KITE", 1)
    web, push = content["sights"]
    assert (web["source"], web["behind_ms"], web["edits"], push["source"], push["behind_ms"]) == ("upbit", 0, 1, "pushed", 2000)
    assert [shown["event"] for shown in web["shown"]] == ["seen", "edited"]
    first, edited = web["shown"]
    assert f'"uuid": "{7 * 7919}"' in first["raw"] and "유통량" in edited["raw"]
    assert first["answer"]["url"] == machine.board.url and first["answer"]["etag"].startswith('W/"')
    assert first["at_ns"] == listing.detected_at_ns == first["answer"]["answered_at_ns"]
    assert edited["at_ns"] - first["at_ns"] == 7 * NS_PER_S
    assert push["shown"] == [{"event": "seen", "at_ns": listing.detected_at_ns + 2 * NS_PER_S, "at": push["seen_at"],
                              "raw": '{"type":"announcement"}', "answer": None}]


def test_a_listing_that_nobody_saw_has_its_notice_alone(machine: Machine) -> None:
    content = notice_object("KITE", [], seen_of(ListingLedger(machine.ledger), []))
    assert content["notices"] == content["sights"] == []
