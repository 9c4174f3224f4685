"""News reach every channel that wants them, and whoever brings them never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest

from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError
from pumpwatch.notify.events import ListingUpdate
from pumpwatch.notify.notifier import Notifier
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.notify.told import FAILED, Script, event, wait_for


class Desk:
    """A notifier that runs, on a ledger of its own."""

    def __init__(self, ledger: Ledger, **scripts: Script) -> None:
        channels = [script.channel(name) for name, script in scripts.items()]
        self.since_ns: list[int] = []  # what `missed` was asked for
        self.on_record: list[Callable[[], ListingUpdate]] = []
        self.notifier = Notifier(channels, lambda: ledger, Clock(), Stats(), 0.01, self.missed)
        self.parts: list[gevent.Greenlet[..., None]] = []

    def missed(self, since_ns: int) -> list[Callable[[], ListingUpdate]]:
        self.since_ns.append(since_ns)
        return self.on_record

    def start(self) -> None:
        self.parts = [gevent.spawn(body) for _, body in self.notifier.bodies()]

    def stop(self) -> None:
        self.notifier.stop()
        gevent.joinall(self.parts, 60, raise_error=True)
        assert all(part.dead for part in self.parts)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def test_each_channel_is_told_once_of_what_it_wants(ledger: Ledger) -> None:
    phone, quiet, late = Script(), Script(), Script()
    channels = [phone.channel("phone"), quiet.channel("quiet", drills=False), late.channel("late", events=("archived",))]
    notifier = Notifier(channels, lambda: ledger, Clock(), Stats())
    desk = Desk(ledger)
    desk.notifier = notifier
    desk.start()
    for told in (event("A"), event("B", drill=True), event("A")):
        notifier.notify(partial(lambda told: told, told))
    wait_for(lambda: [row["sent"] for row in notifier.status()] == [2, 1, 0] and not ledger.messages())
    assert (phone.got, quiet.got, late.got) == (["A", "B"], ["A"], [])
    desk.stop()


def test_a_channel_that_hangs_holds_up_neither_the_others_nor_whoever_brings_news(ledger: Ledger) -> None:
    stuck, phone = Script(), Script()
    stuck.opened.clear()
    desk = Desk(ledger, stuck=stuck, phone=phone)
    desk.start()
    desk.notifier.notify(event)
    wait_for(lambda: stuck.got == ["KITE"] and phone.got == ["KITE"])
    desk.notifier.notify(partial(event, "B"))
    wait_for(lambda: phone.got == ["KITE", "B"])
    wait_for(lambda: [row["waiting"] for row in desk.notifier.status()] == [2, 0])
    stuck.opened.set()
    wait_for(lambda: not ledger.messages())
    desk.stop()


def test_an_event_is_made_in_a_thread_and_never_by_whoever_brings_the_news(ledger: Ledger) -> None:
    made_in: list[int] = []

    def make() -> ListingUpdate:
        made_in.append(threading.get_native_id())
        return event()

    phone = Script()
    desk = Desk(ledger, phone=phone)
    desk.notifier.notify(make)
    assert made_in == []
    desk.start()
    wait_for(lambda: phone.got == ["KITE"])
    assert made_in and made_in[0] != threading.get_native_id()
    desk.stop()


def test_what_an_earlier_run_left_is_sent_unless_its_channel_is_gone(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(ledger, phone=Script(*[FAILED] * 1000), old=Script(*[FAILED] * 1000))
    desk.start()
    desk.notifier.notify(event)
    wait_for(lambda: [row.tries > 0 for row in ledger.messages()] == [True, True])
    desk.stop()
    phone = Script()
    desk = Desk(ledger, phone=phone)
    desk.start()
    desk.notifier.notify(event)  # told by the earlier run
    wait_for(lambda: not ledger.messages())
    wait_for(lambda: desk.notifier.status()[0]["sent"] == 1)
    assert phone.got == ["KITE"] and "messages dropped messages=1 reason=their channels are no longer" in caplog.text
    desk.stop()


def test_a_start_tells_what_a_kill_left_untold_and_nothing_twice(ledger: Ledger) -> None:
    first = Desk(ledger, phone=Script())
    first.start()
    first.notifier.notify(event)
    wait_for(lambda: first.notifier.status()[0]["sent"] == 1 and not ledger.messages())
    first.stop()
    phone = Script()
    again = Desk(ledger, phone=phone)
    again.on_record = [event, partial(event, "LOST")]
    again.start()
    wait_for(lambda: phone.got == ["LOST"] and not ledger.messages())
    assert again.since_ns == first.since_ns  # since channels are told
    again.stop()


def test_an_event_that_cannot_be_made_costs_no_other(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> ListingUpdate:
        raise ZeroDivisionError("a\nb")

    phone = Script()
    desk = Desk(ledger, phone=phone)
    desk.notifier.notify(broken)
    desk.notifier.notify(event)
    desk.start()
    wait_for(lambda: phone.got == ["KITE"])
    assert caplog.messages == ["event not sent reason=ZeroDivisionError: a\\nb"]
    desk.stop()


def test_a_ledger_that_refuses_is_logged_once_and_the_message_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Ledger):
        def _run(self, doing: str, work: Any) -> Any:
            if doing == "write":
                raise StorageError("the disk is full")
            return super()._run(doing, work)

    phone = Script()
    refusing = Refusing(tmp_path)
    desk = Desk(refusing, phone=phone)
    desk.start()
    desk.notifier.notify(event)
    desk.notifier.notify(partial(event, "B"))
    wait_for(lambda: phone.got == ["KITE", "B"])
    assert caplog.text.count("messages are sent but not stored reason=the disk is full") == 1
    desk.stop()
    refusing.close()


def test_without_channels_nothing_runs_and_nothing_is_kept(ledger: Ledger) -> None:
    desk = Desk(ledger)
    desk.notifier.notify(event)
    assert list(desk.notifier.bodies()) == [] and desk.notifier.status() == [] and not desk.notifier._news


def test_an_event_is_reported_once_no_channel_waits_for_it(ledger: Ledger) -> None:
    phone, stuck, done = Script(), Script(), list[str]()
    stuck.opened.clear()
    channels = [phone.channel("phone"), stuck.channel("stuck"), Script().channel("late", events=("archived",))]
    desk = Desk(ledger)
    desk.notifier = Notifier(channels, lambda: ledger, Clock(), Stats(), on_told=done.append)
    desk.start()
    told = event("A")
    desk.notifier.notify(lambda: told)
    wait_for(lambda: phone.got == ["A"])
    gevent.sleep(0.05)
    assert done == []
    stuck.opened.set()
    wait_for(lambda: done == [told.id])
    desk.stop()


def test_what_another_collector_has_told_is_not_told_here_even_after_a_restart(ledger: Ledger) -> None:
    phone = Script()
    desk = Desk(ledger, phone=phone)
    desk.start()
    first, second = event("A"), event("B")
    desk.notifier.mark_sent_elsewhere(first.id)
    for told in (first, second):
        desk.notifier.notify(partial(lambda told: told, told))
    wait_for(lambda: phone.got == ["B"])
    desk.stop()
    assert set(ledger.told_event_ids()) == {first.id, second.id}
