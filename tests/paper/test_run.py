"""A run: its id, its files, and the account ledger."""

from __future__ import annotations

import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from pumpwatch.accounts import FILE_NAME, open_account_ledger
from pumpwatch.config import Config
from pumpwatch.paper.choice import Chosen, one_archive
from pumpwatch.paper.job import Source
from pumpwatch.paper.results import ExitRules, read_result
from pumpwatch.paper.run import RunPlan, keep_run, make_run
from pumpwatch.paper.sandbox import StrategyError
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.sources import find_source
from pumpwatch.plugins import load_plugins
from tests.paper.made_archives import RISE, write

PLAN = RunPlan(source=find_source("buy_first", load_plugins(Config())), settings=Settings(rules=ExitRules(hold_s=5)),
            delays_ms=(100, 400))


def test_a_run_is_the_same_bytes_each_time_and_is_recorded_once(tmp_path: Path) -> None:
    archive = write(tmp_path)
    left_out = Chosen("", "NONE", 5, None, "the coin was not listed on any venue")
    told: list[str] = []
    made = make_run(PLAN, [*one_archive(archive), left_out], told.append)
    assert told == ["KITE: 5 trades of 1 markets"]
    path = keep_run(made, tmp_path / "data", tmp_path / FILE_NAME)
    content = path.read_bytes()
    again = make_run(PLAN, [*one_archive(archive), left_out])
    assert keep_run(again, tmp_path / "data", tmp_path / FILE_NAME) == path
    assert path.read_bytes() == content
    result = read_result(path)
    assert [row.left_out for row in result.archives] == [None, left_out.left_out]
    assert [(row.delay_ms, row.exit_reason, row.entry_price) for row in result.archives[0].outcomes] == [
        (100, "time", Decimal(1)), (400, "time", Decimal("1.1"))]
    with open_account_ledger(tmp_path / FILE_NAME) as ledger:
        names = sorted(account.account_id for account in ledger.accounts())
    assert names == [f"{result.run_id}-0-{delay}" for delay in (100, 400)]
    assert {found.name for found in path.parent.iterdir()} == {"result.json", "run.html", "heading.json"}


def test_other_inputs_are_another_run_and_another_place_is_not(tmp_path: Path) -> None:
    archive = write(tmp_path)
    other = tmp_path / "other" / archive.name
    shutil.copytree(archive, other)
    nothing: list[Chosen] = []
    plans = [PLAN, replace(PLAN, delays_ms=(100,)), replace(PLAN, settings=replace(PLAN.settings, seed=2)),
             replace(PLAN, venues=("binance.spot",)), replace(PLAN, source=replace(PLAN.source, code="#" + PLAN.source.code))]
    assert len({make_run(plan, nothing).result.run_id for plan in plans}) == len(plans)
    here, there = (make_run(replace(PLAN, delays_ms=(100,)), one_archive(path)).result for path in (archive, other))
    assert here.run_id == there.run_id


CODE = """from pumpwatch import Strategy
class Picky(Strategy):
    def on_listing(self, listing, broker):
        1 / (broker.last(broker.markets[0]) - 1)
"""


def test_a_listing_on_which_the_strategy_fails_is_left_out_by_name_and_the_others_are_played(tmp_path: Path) -> None:
    plan = replace(PLAN, source=Source(name="picky", file="picky.py", code=CODE), delays_ms=(100,))
    bad, good = write(tmp_path / "bad"), write(tmp_path / "good", [(-500, 2.0, 900, 0), *RISE[1:]])
    made = make_run(plan, [*one_archive(bad), *one_archive(good)])
    assert [row.left_out for row in made.result.archives] == [
        "the strategy failed: picky.py:4 (on_listing): ZeroDivisionError: float division by zero", None]
    assert (made.failed, [len(row.outcomes) for row in made.result.archives]) == (1, [0, 1])
    with pytest.raises(StrategyError, match="picky"):
        make_run(plan, one_archive(bad))
