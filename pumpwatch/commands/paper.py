"""The group `pumpwatch paper`: strategies on recorded trades, and the account ledger."""

from __future__ import annotations

import click

from pumpwatch.commands import paper_ledger, paper_run, paper_views


@click.group()
def paper() -> None:
    """Trade on paper, on recorded trades.

    The account ledger records what was done with made-up money; the commands below show and check it. No order leaves this
    machine: PumpWatch cannot send orders.

    \b
    Example: pumpwatch paper run SOMI --at 2026-11-21T10:00:00Z --hold-s 10
             pumpwatch paper accounts
             pumpwatch paper check
    """


for play in (paper_run.run, paper_run.new):
    paper.add_command(play)

for command in (paper_ledger.accounts, paper_ledger.orders, paper_ledger.positions, paper_ledger.events, paper_ledger.check):
    paper.add_command(command)

for view in (paper_views.runs, paper_views.show, paper_views.summary):
    paper.add_command(view)
