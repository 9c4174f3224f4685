"""A sink's two marks: what it has answered for, and which of its answers a power cut of its host cannot take back."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.clock import FakeClock
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.watermarks import Answers
from tests.trades import batch_of, catalogue_of


def opened(folder: Path, clock: FakeClock) -> Journal:
    journal = Journal(folder, catalogue_of(), clock, Stats())
    journal.open()
    return journal


def test_an_answer_is_safe_once_the_sink_was_seen_alive_long_enough_afterwards() -> None:
    answers = Answers(safe=3)
    for second in range(100):
        answers.record(10 + second, 1000.0 + second)
        answers.record(10 + second, 1000.4 + second)
    assert answers.confirm(1060.0, 300.0) == 3
    assert answers.confirm(1300.0, 300.0) == 10
    assert answers.confirm(1350.5, 300.0) == 60
    assert answers.confirm(9999.0, 300.0) == 109


def test_many_answers_within_a_second_are_one_step() -> None:
    answers = Answers(safe=0)
    for step in range(100_000):
        answers.record(step, 50.0 + step / 1000)
    assert len(answers._given) <= 101
    assert 49_000 <= answers.confirm(400.0, 300.0) <= 51_000


def test_the_answers_of_a_sink_that_syncs_each_are_safe_at_once() -> None:
    answers = Answers(safe=0)
    answers.record(5, 10.0)
    assert answers.confirm(10.0, 0.0) == 5


def test_both_marks_are_there_after_a_restart_and_both_may_go_back(tmp_path: Path) -> None:
    clock = FakeClock()
    journal = opened(tmp_path, clock)
    for _ in range(4):
        journal.commit(batch_of(10))
    journal.acknowledge("questdb", 4, 2)
    journal.close()
    journal = opened(tmp_path, clock)
    assert (journal.acknowledged("questdb"), journal.watermarks.safe("questdb")) == (4, 2)
    journal.watermarks.go_back("questdb", 1)
    journal.commit(batch_of(10))
    journal.close()
    journal = opened(tmp_path, clock)
    assert (journal.acknowledged("questdb"), journal.watermarks.safe("questdb")) == (1, 1)
    assert journal.backlog("questdb") == 40
    journal.close()


def test_a_segment_stays_as_long_as_a_power_cut_of_a_sink_may_cost_it(tmp_path: Path) -> None:
    clock = FakeClock()
    journal = opened(tmp_path, clock)
    for _ in range(3):
        journal.commit(batch_of(10, start_ns=clock.now_ns()))
        clock.advance(3600)
    journal.acknowledge("questdb", 3, 1)
    assert len(journal.expire(clock.now_ns(), 10**12, ["questdb"])) == 1
    journal.acknowledge("questdb", 3, 3)
    assert len(journal.expire(clock.now_ns(), 10**12, ["questdb"])) == 1
    journal.close()
