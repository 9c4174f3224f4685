"""The table of a paper run: a row for each listing and delay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from pumpwatch.commands.table import Column, wrapped
from pumpwatch.paper.results import Outcome, RunResult
from pumpwatch.printable import printable

RUN = (Column("coin"), Column("delay ms", right=True), Column("entry", right=True), Column("slip bp", right=True, rank=3),
       Column("exit", right=True), Column("why", rank=1), Column("fees", right=True, rank=2), Column("PnL", right=True),
       Column("PnL %", right=True), Column("drawdown", right=True), Column("fills", right=True))
WHY = {"trailing_stop": "trailing", "end_of_tape": "end", "liquidated": "liquidated"}
REASONS = 5  # for rejections that are named


def run_rows(result: RunResult) -> list[tuple[str, ...]]:
    """Return the rows of the table."""
    return [(archive.coin, str(outcome.delay_ms), *_cells(outcome))
            for archive in result.archives for outcome in archive.outcomes]


def _cells(outcome: Outcome) -> Iterator[str]:
    yield _price(outcome.entry_price)
    yield "" if outcome.slippage_bp is None else f"{outcome.slippage_bp:.0f}"
    yield _price(outcome.exit_price)
    yield WHY.get(outcome.exit_reason, outcome.exit_reason)
    yield f"{outcome.fees:.2f}"
    yield f"{outcome.pnl:+.2f}"
    yield f"{outcome.pnl_percent:+.2f}"
    yield f"{outcome.worst_drawdown:.2f}"
    yield str(len(outcome.fills))


def _price(price: Decimal | None) -> str:
    return "" if price is None else f"{float(price):.6g}"


def rejected_lines(result: RunResult, width: int) -> list[str]:
    """Return the reasons for which orders were rejected, the most frequent first."""
    reasons = Counter(row.reason for archive in result.archives for outcome in archive.outcomes for row in outcome.rejected)
    lines = [f"rejected {count}: {printable(reason)}" for reason, count in reasons.most_common(REASONS)]
    if len(reasons) > REASONS:
        lines.append(f"rejected for {len(reasons) - REASONS} more reasons: --json has all")
    return [part for line in lines for part in wrapped(line, width)]


def left_out_lines(result: RunResult, width: int) -> list[str]:
    """Return the listings that were not played, and why."""
    lines = [f"left out: {printable(archive.coin)}: {printable(archive.left_out)}" for archive in result.archives
             if archive.left_out is not None]
    return [part for line in lines for part in wrapped(line, width)]
