"""A strategy's process: what comes back, and each way in which a strategy may misbehave."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.paper.job import Job, Source
from pumpwatch.paper.results import ExitRules
from pumpwatch.paper.sandbox import StrategyError, play_in_process
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, Row, tape

ROWS: list[Row] = [(-100, 1.0, 500, BUYS), (350, 1.02, 2000, BUYS), (400, 1.1, 4000, BUYS)]
GOOD = """
import random, sys
from pumpwatch import Strategy
class Mine(Strategy):
    bought = []
    def on_listing(self, listing, broker):
        print("a word to its author")
        assert not self.bought  # each delay has the code anew
        self.bought.append(1)
        broker.buy("binance.spot:KITEUSDT", random.randint(1, 10**6) / 10**6)
        assert "gevent" not in sys.modules
"""
BAD = """
from pumpwatch import Strategy
class Mine(Strategy):
    def on_listing(self, listing, broker):
        pass
    def on_trade(self, trade, broker):
        import itertools, os, socket, time
        {}
"""


def job(code: str, delays: tuple[int, ...] = (0,), limit_s: float = 60.0) -> Job:
    return Job(tape=tape(ROWS), source=Source(name="mine", file="täst/mine.py", code=code), delays_ms=delays, limit_s=limit_s,
               settings=Settings(rules=ExitRules(hold_s=1)))


def test_a_replay_comes_back_for_each_delay_and_is_the_same_each_time(capfd: pytest.CaptureFixture[str]) -> None:
    found = play_in_process(job(GOOD, (0, 100, 5000)))
    assert [row.outcome.delay_ms for row in found] == [0, 100, 5000]
    assert [len(row.outcome.fills) for row in found] == [1, 1, 0]
    assert found[0].outcome.fills[0].quantity == found[1].outcome.fills[0].quantity
    assert capfd.readouterr().err == 3 * "a word to its author\n"
    assert play_in_process(job(GOOD, (0, 100, 5000))) == found


@pytest.mark.parametrize(("line", "problem"), [
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("time.sleep(1000)", "it did not return within 1 s, and was ended there; --limit-s gives it longer"),
    ("sum(itertools.count())", "it did not return within 1 s, and was ended there; --limit-s gives it longer"),
    ("socket.socket()", "PermissionError: a strategy must not use the network: socket.__new__"),
])
def test_a_strategy_that_misbehaves_is_ended_and_its_line_named(line: str, problem: str) -> None:
    with pytest.raises(StrategyError) as caught:
        play_in_process(job(BAD.format(line), limit_s=1.0))
    assert str(caught.value) == f"täst/mine.py:8 (on_trade): {problem}"
    assert caught.value.exit_code == 1


def test_a_process_that_ends_itself_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match=r"its process ended without an answer \(exit code 3\)"):
        play_in_process(job(BAD.format("os._exit(3)")))
