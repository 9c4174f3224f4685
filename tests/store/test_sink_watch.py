"""A sink is polled: its trouble, how it keeps its trades, and errors that no sink should raise."""

from __future__ import annotations

import logging

import gevent
import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import Keeping
from pumpwatch.store.sink_watch import SinkWatch


class Polled:
    """Answers with what `answers` holds, one after the other; the last one stays."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def trouble(self) -> str:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def keeping(self) -> Keeping:
        return Keeping(run="1")


def watch(sink: Polled, is_open: bool, kept: list[Keeping]) -> tuple[SinkWatch, gevent.Greenlet]:
    made = SinkWatch("fake", sink, 0.001, lambda: is_open, kept.append)  # type: ignore[arg-type]
    return made, gevent.spawn(made.run)


def wait(until) -> None:
    with gevent.Timeout(10):
        while not until():
            gevent.sleep(0.001)


def test_trouble_comes_and_goes_and_is_unknown_while_the_sink_does_not_answer() -> None:
    sink = Polled("suspended")
    made, greenlet = watch(sink, False, [])
    wait(lambda: made.trouble == "suspended")
    sink.answers = [ServiceUnavailable("away")]
    wait(lambda: made.trouble == "")
    greenlet.kill()


def test_only_an_open_sink_is_asked_how_it_keeps_its_trades() -> None:
    asked: list[Keeping] = []
    closed: list[Keeping] = []
    greenlets = [watch(Polled(""), True, asked)[1], watch(Polled(""), False, closed)[1]]
    wait(lambda: len(asked) > 2)
    assert asked[0].run == "1" and not closed
    gevent.killall(greenlets)


def test_an_error_that_no_sink_should_raise_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Polled(ValueError("odd"), ValueError("odd"), ValueError("odd"), "suspended")
    with caplog.at_level(logging.ERROR):
        made, greenlet = watch(sink, True, [])
        wait(lambda: made.trouble == "suspended")
    assert [record.getMessage() for record in caplog.records] == [
        "sink check failed, it will be repeated sink=fake reason='ValueError: odd'"]
    greenlet.kill()
