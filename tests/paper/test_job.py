"""A job is handed over by pickle, its answer by JSON."""

from __future__ import annotations

import pickle

import msgspec

from pumpwatch.paper.engine import play
from pumpwatch.paper.job import Job, PlayedRow, Source, StrategyAnswer
from pumpwatch.paper.settings import Settings
from pumpwatch.strategy import Strategy
from tests.paper.tapes import BUYS, SPOT, tape


def test_a_job_and_its_answer_survive_the_way() -> None:
    job = Job(tape=tape([(1, 1.0, 1, BUYS)]), source=Source(name="a", file="a.py", code=""), settings=Settings(), delays_ms=(1,),
              limit_s=1.0)
    found = pickle.loads(pickle.dumps(job))
    assert (found.tape.markets[0], found.tape.price.tolist(), found.source) == (SPOT, [1.0], job.source)
    played = play(job.tape, Strategy(), job.settings, 0)
    answer = StrategyAnswer((PlayedRow(played.outcome, played.actions),))
    assert msgspec.json.decode(msgspec.json.encode(answer), type=StrategyAnswer) == answer
