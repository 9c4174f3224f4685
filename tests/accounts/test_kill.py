"""A process that is killed before or after any step of a command leaves a whole ledger: the command is done, or not begun."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pumpwatch.accounts import AccountLedger, open_account_ledger
from tests.accounts.ledgers import ACCOUNT, FUTURES, everything, failures, fill, order

STEPS = ("rows", "execute", "many", "begin", "commit")


def commands(ledger: AccountLedger) -> None:
    """Do what writes to every table, in one transaction."""
    with ledger.transaction():
        ledger.fill_order("o1", fill("f1", quantity="4", fee="0.1"))
        ledger.place_order(ACCOUNT, order("o2", venue=FUTURES))
        ledger.fill_order("o2", fill("f2"))
        ledger.transfer(ACCOUNT, order().quantity, "more", 30)


def child_that_dies(place: str | Path, at: int) -> int:
    """Run the commands in a process that kills itself before the step `at`; return the signal that ended it, 0 without one."""
    pid = os.fork()
    if not pid:
        try:
            with open_account_ledger(place) as ledger:
                left = [at]
                for name in STEPS:
                    setattr(ledger.database, name, deadly(getattr(ledger.database, name), left))
                commands(ledger)
                left[0] = 0
                die_at(left)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(left: list[int]) -> None:
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1


def deadly(step: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def taken(*arguments: Any) -> Any:
        die_at(left)
        return step(*arguments)

    return taken


def test_a_kill_at_every_step_leaves_a_whole_ledger(ledger: AccountLedger, place: str | Path) -> None:
    ledger.place_order(ACCOUNT, order("o1"))
    before, steps = everything(ledger), 0
    while everything(ledger) == before:
        assert child_that_dies(place, steps) == -signal.SIGKILL
        assert failures(ledger) == []
        steps += 1
        assert steps < 100
    assert steps > 15, "it died before each of its steps, the last time behind the commit"
    assert [found.fill_id for found in ledger.fills()] == ["f1", "f2"]
