"""A source that pushes: connected again whenever it ends, and nothing that it does ends the watch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from pumpwatch.errors import BadFrame, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import PushLink, PushSource, Verdict
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.push_watch import PushWatch
from pumpwatch.model import Notice
from tests.listing.machine import Machine

Deliver = Callable[[bytes], None]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


def parse(body: bytes) -> list[Notice]:
    try:
        return [Notice(source="", notice_id=row["id"], title=row["title"], category="", published_at_ns=row["at"],
                       updated_at_ns=row["at"]) for row in json.loads(body)]
    except (ValueError, TypeError) as error:
        raise BadFrame("not a message") from error


def watch_of(machine: Machine, *scripts: Callable[[Deliver], None]) -> tuple[PushWatch, list[str]]:
    """Return a watch whose source runs one script a connection, then stops it; and the addresses it was given."""
    left, urls = list(scripts), []

    def listen(url: str, link: PushLink) -> None:
        urls.append(url)
        if not left:
            watch.stop()
            return
        left.pop(0)(link.deliver)

    source = PushSource(name="signals", exchange="upbit", listen=listen, parse=parse,
                        verdict=lambda title: Verdict("krw_listing", (title,)))
    watch = PushWatch(source, machine.context(), url="wss://example.com")
    watch._backoff._base_s = 0.001
    return watch, urls


def message(machine: Machine, coin: str, number: int = 1) -> bytes:
    return json.dumps([{"id": str(number), "title": coin, "at": machine.clock.now_ns()}]).encode()


def run(watch: PushWatch) -> None:
    with gevent.Timeout(60):
        watch.run()


def test_a_message_opens_a_window_at_once(machine: Machine) -> None:
    watch, urls = watch_of(machine, lambda deliver: deliver(message(machine, "KITE")))
    run(watch)
    (listing,) = machine.seen
    assert (listing.symbol, listing.source, listing.exchange, listing.board) == ("KITE", "signals", "upbit", "upbit")
    assert urls == ["wss://example.com"] * 2
    assert watch.state()["delivery"] == "push" and machine.stats.get("listing_messages_total", source="signals") == 1


def test_whatever_a_connection_does_the_next_one_is_made_and_each_failure_is_logged_once(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def refuse(deliver: Deliver) -> None:
        raise ServiceUnavailable("the key was revoked")

    def crash(deliver: Deliver) -> None:
        raise ZeroDivisionError

    def odd(deliver: Deliver) -> None:
        for body in (b"", b"<html>", b"{", b"[]", b"null", json.dumps([{"id": 7, "title": None, "at": "x"}]).encode()):
            deliver(body)

    watch, urls = watch_of(machine, refuse, refuse, crash, odd, lambda deliver: deliver(message(machine, "KITE")))
    run(watch)
    assert [listing.symbol for listing in machine.seen] == ["KITE"] and len(urls) == 6
    changes = [record.message for record in caplog.records if record.message.startswith("listing source")]
    assert changes[0] == "listing source down source=signals reason=the key was revoked"
    assert sum("key was revoked" in change or "ZeroDivisionError" in change for change in changes) == 1


def test_a_source_that_is_connected_and_silent_is_up(machine: Machine) -> None:
    watch, _ = watch_of(machine, lambda deliver: (watch.connected(), ups.append(watch.up)))  # type: ignore[arg-type, func-returns-value]
    ups: list[bool | None] = []
    run(watch)
    assert ups == [True] and watch.up is False


def test_an_old_message_and_a_repeated_one_open_nothing(machine: Machine) -> None:
    def repeat(deliver: Deliver) -> None:
        body = message(machine, "KITE")
        machine.clock.advance(3600)
        deliver(body)
        for _ in range(3):
            deliver(message(machine, "ORDER", 2))

    run(watch_of(machine, repeat, repeat)[0])
    assert [listing.symbol for listing in machine.seen] == ["ORDER"]


def test_a_stopped_watch_takes_no_further_message(machine: Machine) -> None:
    watch, _ = watch_of(machine)
    watch.stop()
    watch.deliver(message(machine, "KITE"))
    assert machine.seen == [] and watch.up is None


def test_what_cannot_be_read_is_quarantined(machine: Machine) -> None:
    def mixed(deliver: Deliver) -> None:
        rows: list[Any] = [{"id": "1", "title": "KITE", "at": machine.clock.now_ns()}, {"id": "2", "title": "X", "at": 5}]
        deliver(json.dumps(rows).encode())

    run(watch_of(machine, mixed)[0])
    assert [listing.symbol for listing in machine.seen] == ["KITE"]
    assert [record.exchange for record in machine.quarantined] == ["signals"]


def test_a_message_that_cannot_be_read_is_kept_as_it_came(machine: Machine) -> None:
    watch, _ = watch_of(machine)
    assert watch.deliver(b"<html>") and not watch.up
    assert [(record.exchange, record.payload) for record in machine.quarantined] == [("signals", b"<html>")]


def test_each_connect_is_told_and_the_link_has_the_options(machine: Machine) -> None:
    asked: list[bool] = []

    def listen(url: str, link: PushLink) -> None:
        assert link.options == {"key": "x"}
        link.connected()
        with pytest.raises(ServiceUnavailable):
            link.open_websocket("wss://example.com", {})
        if len(asked) == 2:
            watch.stop()

    source = PushSource(name="signals", listen=listen, parse=parse, verdict=lambda title: Verdict("other"))
    watch = PushWatch(source, machine.context(), options={"key": "x"}, on_connected=lambda: asked.append(True))
    watch._backoff._base_s = 0.001
    run(watch)
    assert len(asked) == 2


def test_a_message_is_handed_over_again_where_the_ledger_fails(machine: Machine) -> None:
    def fail(function: object, *args: object) -> Any:
        raise StorageError("the disk is full")

    source = PushSource(name="signals", listen=lambda url, link: None, parse=parse,
                        verdict=lambda title: Verdict("krw_listing", (title,)))
    watch = PushWatch(source, replace(machine.context(), ledger=ListingLedger(machine.ledger, fail)))  # type: ignore[arg-type]
    assert not watch.deliver(message(machine, "KITE")) and watch.up is False
    watch.retry()
