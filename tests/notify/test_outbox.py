"""Messages are sent once, again after a failure, over restarts, and a channel is logged when it fails and when it works again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest

from pumpwatch.clock import Clock, FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.notify.channels import Sent
from pumpwatch.notify.outbox import KEPT_S, WAITING_MAX, Outbox
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.messages import StoredMessage
from tests.notify.told import FAILED, TAKEN, Script, event, wait_for


def message(coin: str = "KITE", made_at_ns: int = 0, channel: str = "phone", drill: bool = False) -> StoredMessage:
    told = event(coin, drill=drill)
    return StoredMessage(channel, told.id, msgspec.json.encode(told).decode(), made_at_ns or Clock().now_ns())


class Post:
    """An outbox that runs, on a ledger."""

    def __init__(self, ledger: Ledger, script: Script, clock: Clock | None = None, retry_s: float = 0.01) -> None:
        self.ledger, self.script, self.stats = ledger, script, Stats()
        self.outbox = Outbox(script.channel(), lambda: ledger, clock or Clock(), self.stats, retry_s)
        self.part = gevent.spawn(self.outbox.run)

    def add(self, found: StoredMessage) -> None:
        self.ledger.store_messages([found])
        self.outbox.add(found)

    def figures(self) -> dict[str, Any]:
        return {key: value for key, value in self.outbox.status().items() if key in ("sent", "failed", "given_up", "waiting")}

    def stop(self) -> None:
        self.outbox.stop()
        self.part.join(60)
        assert self.part.dead


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def test_a_message_is_sent_once_and_leaves_the_ledger(ledger: Ledger) -> None:
    post = Post(ledger, Script())
    for coin in ("A", "B", "A"):
        post.add(message(coin))
    wait_for(lambda: not ledger.messages())
    assert post.script.got == ["A", "B"]
    assert post.figures() == {"sent": 2, "failed": 0, "given_up": 0, "waiting": 0}
    assert post.stats.get("notify_sent_total", channel="phone") == 2
    post.stop()


def test_a_channel_that_fails_is_logged_once_and_once_more_when_it_works_again(
        ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    post = Post(ledger, Script(FAILED, FAILED, FAILED))
    post.add(message())
    wait_for(lambda: not ledger.messages())
    assert post.figures() == {"sent": 1, "failed": 3, "given_up": 0, "waiting": 0}
    assert [record.getMessage() for record in caplog.records] == [
        "channel failed channel=phone event=seen:upbit:6642:KITE reason=it answers HTTP 500: the message is tried again",
        "channel takes messages again channel=phone"]
    post.stop()


def test_a_message_that_waits_is_sent_after_a_restart(ledger: Ledger) -> None:
    post = Post(ledger, Script(FAILED), retry_s=3600)
    post.add(message())
    wait_for(lambda: post.figures()["failed"] == 1 and ledger.messages()[0].tries == 1)
    assert post.outbox.status()["up"] is False and post.outbox.status()["reason"] == "it answers HTTP 500"
    post.stop()
    clock = FakeClock(ledger.messages()[0].next_at_ns - 10**9)
    again = Post(ledger, Script(), clock)
    (left,) = ledger.messages()
    again.outbox.add(left)
    gevent.sleep(0.05)
    assert again.script.got == [] and again.figures()["waiting"] == 1  # its back-off goes on
    clock.advance(2)
    again.outbox.add(left)  # wakes it; the message waits already
    wait_for(lambda: not ledger.messages())
    assert again.script.got == ["KITE"]
    again.stop()


def test_the_back_off_grows_and_is_bounded(ledger: Ledger) -> None:
    clock = FakeClock()
    post = Post(ledger, Script(*[FAILED] * 12), clock, retry_s=5.0)
    post.add(message(made_at_ns=clock.now_ns()))
    waits = []
    for number in range(1, 10):
        wait_for(lambda number=number: [row.tries for row in ledger.messages()] == [number])  # type: ignore[misc]
        waits.append((ledger.messages()[0].next_at_ns - clock.now_ns()) / 1e9)
        clock.advance(waits[-1])
        post.outbox.add(message())
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]
    post.stop()


def test_a_step_of_the_wall_clock_holds_up_no_message(ledger: Ledger) -> None:
    clock = FakeClock()
    post = Post(ledger, Script(FAILED), clock, retry_s=5.0)
    post.add(message(made_at_ns=clock.now_ns()))
    wait_for(lambda: post.figures()["failed"] == 1)
    clock.step(-86_400)
    clock.advance(6)
    post.outbox.add(message("OTHER"))
    wait_for(lambda: post.figures()["sent"] == 2)
    post.stop()


def test_a_message_is_given_up_after_a_day_or_where_another_try_cannot_help(ledger: Ledger) -> None:
    post = Post(ledger, Script(FAILED, Sent(False, "exit code 1", again=False)))
    post.add(message("OLD", made_at_ns=Clock().now_ns() - int((KEPT_S + 1) * 1e9)))
    post.add(message("NEVER"))
    wait_for(lambda: not ledger.messages())
    assert post.figures() == {"sent": 0, "failed": 2, "given_up": 2, "waiting": 0}
    post.stop()


def test_a_message_that_another_version_stored_is_given_up_and_holds_up_no_other(ledger: Ledger) -> None:
    post = Post(ledger, Script())
    post.add(StoredMessage("phone", "a", '{"kind": "of the future"}', 1))
    post.add(StoredMessage("phone", "b", "half a JS", 2))
    post.add(message())
    wait_for(lambda: not ledger.messages())
    assert post.script.got == ["KITE"] and post.figures() == {"sent": 1, "failed": 2, "given_up": 2, "waiting": 0}
    post.stop()


def test_a_channel_that_loses_every_message_is_logged_once(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    useless = Sent(False, "exit code 1", again=False)
    post = Post(ledger, Script(useless, useless, useless, TAKEN, useless))
    for number in range(5):
        post.add(message(f"C{number}"))
    wait_for(lambda: not ledger.messages())
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "message given up channel=phone event=seen", "channel takes messages again channel=phone",
        "message given up channel=phone event=seen"]
    assert post.figures() == {"sent": 1, "failed": 4, "given_up": 4, "waiting": 0}
    post.stop()


def test_the_oldest_is_given_up_where_too_many_wait(ledger: Ledger) -> None:
    script = Script()
    script.opened.clear()
    post = Post(ledger, script)
    for number in range(WAITING_MAX + 2):
        post.outbox.add(message(f"C{number}"))
    assert post.figures() == {"sent": 0, "failed": 0, "given_up": 2, "waiting": WAITING_MAX}
    post.outbox.stop()
    script.opened.set()
    post.stop()


class BrokenLedger(Ledger):
    """A ledger whose disk is full."""

    def _run(self, doing: str, work: Any) -> Any:
        if doing == "write":
            raise StorageError("the disk is full")
        return super()._run(doing, work)


def test_a_ledger_that_refuses_holds_up_no_message(tmp_path: Path) -> None:
    post = Post(BrokenLedger(tmp_path), Script(FAILED))
    post.outbox.add(message())
    wait_for(lambda: post.figures() == {"sent": 1, "failed": 1, "given_up": 0, "waiting": 0})
    post.stop()
    post.ledger.close()
