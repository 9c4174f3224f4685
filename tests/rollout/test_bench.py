"""A load is offered to a sink at its rate, and what the sink does with it is measured."""

from __future__ import annotations

from typing import Any

import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.rollout.bench import EXCHANGE, INSTRUMENTS, Load, Measured, bench_catalogue, made_up, measure


class Taker:
    """A sink that keeps the ids of what it gets. `fails`: it does not answer."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.ids: list[int] = []

    def write(self, batch: TradeBatch, catalogue: Any) -> WriteResult:
        if self.fails:
            raise ServiceUnavailable("away")
        self.ids += batch.trade_id.tolist()
        return WriteResult(len(batch))


def test_every_trade_of_a_load_is_sent_once_and_nobody_else_has_its_instruments() -> None:
    sink, catalogue, seen = Taker(), bench_catalogue(), []
    found = measure(sink, catalogue, Load(300, 2.0), 1000, seen.append)  # type: ignore[arg-type]
    assert sink.ids == list(range(1000, 1600)) and found.trades == seen[-1] == 600
    assert found.batches >= 1 and found.p99_ms >= found.p50_ms > 0 and found.rss_bytes > 10**6
    assert 0 < found.rate <= 300 < found.writing_rate and not found.rejected
    assert {exchange for exchange, _ in catalogue.venues} == {EXCHANGE} and len(catalogue) == INSTRUMENTS


def test_the_trades_of_a_second_have_times_of_that_second_in_order() -> None:
    batch = made_up(5000, 1, 10**18, 1.0)
    assert batch.timestamp[0] >= 10**18 - 10**9 and batch.timestamp[-1] <= 10**18
    assert (batch.timestamp[1:] >= batch.timestamp[:-1]).all() and len(set(batch.trade_id.tolist())) == 5000


def test_a_sink_that_does_not_answer_ends_the_bench() -> None:
    with pytest.raises(ServiceUnavailable, match="away"):
        measure(Taker(fails=True), bench_catalogue(), Load(10, 1.0), 1)  # type: ignore[arg-type]


def test_a_sink_that_answers_late_has_not_kept_up() -> None:
    def row(late_s: float) -> bool:
        return bool(Measured(Load(1000, 5.0), 5000, 0, 700.0, 900.0, 5, 1.0, 2.0, late_s, 3.0, 10**8).as_row()["behind"])

    assert row(2.5) and not row(0.5)
