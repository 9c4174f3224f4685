"""The result of a run, `<data>/paper/<run_id>/result.json`: a strategy, played on each archive with each delay.

The result does not depend on the clock: the same inputs give the same bytes. Times are int ns since 1970, UTC. Amounts are
Decimals in the quote (USDT), written as text; prices are in the quote, quantities in base units.
"""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import msgspec

from pumpwatch.errors import StorageError

SCHEMA = 1
FILE = "result.json"
FOLDER = "paper"  # of the data folder
EQUITY_POINTS = 2000  # of an outcome, at most

# how a position ended: by an exit rule, the strategy's order, the venue, or the end of the tape; none: it was never entered
EXIT_REASONS = ("time", "trailing_stop", "target", "strategy", "liquidated", "end_of_tape", "none")


class FillRow(msgspec.Struct, frozen=True):
    """A fill: a part of an order, at one price. venue: such as `binance.spot`. liquidity: `maker` or `taker`."""

    at: int
    venue: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    liquidity: str
    order_id: str


class RejectedOrder(msgspec.Struct, frozen=True):
    """A rejected order, and the reason. quantity is text, since it may not be a number."""

    at: int
    venue: str
    symbol: str
    side: str
    quantity: str
    reason: str
    order_id: str


class ListingOutcome(msgspec.Struct, frozen=True):
    """The result of one replay of an archive.

    entry_*: of the market that was traded first; the price is the mean of its opening fills. slippage_bp: how much worse that is
    than the last trade before each order was sent, in hundredths of a percent. exit_price: the mean of the closing fills; the
    last trade if the position was still open at the end. fees, pnl and worst_drawdown are in the quote, over all markets. pnl
    includes the fees and values open positions at the last trade; pnl_percent is relative to `size`. worst_drawdown: the largest
    fall of the account's value from an earlier peak. equity: (ns, value of the account).
    """

    delay_ms: int
    entry_at: int | None
    entry_price: Decimal | None
    slippage_bp: Decimal | None
    exit_at: int | None
    exit_price: Decimal | None
    exit_reason: str
    fees: Decimal
    pnl: Decimal
    pnl_percent: Decimal
    worst_drawdown: Decimal
    rejected: tuple[RejectedOrder, ...] = ()
    fills: tuple[FillRow, ...] = ()
    equity: tuple[tuple[int, Decimal], ...] = ()


class ArchiveResult(msgspec.Struct, frozen=True):
    """The outcomes of one archive, by delay. left_out: why it was not played, else None.

    archive: the folder; empty if the tape was made from the store and there is no archive. triggered_at: the time (ns) from which
    delays count.
    """

    archive: str
    coin: str
    triggered_at: int
    outcomes: tuple[ListingOutcome, ...] = ()
    left_out: str | None = None


class Latency(msgspec.Struct, frozen=True):
    """The latency of a run. kind: `fixed`, or `measured` (drawn for each order from the tape's delays; ms is then 0)."""

    kind: str
    ms: float


class ExitRules(msgspec.Struct, frozen=True):
    """The exit rules, which close a position whatever the strategy does; None: the rule is off."""

    hold_s: float | None = None
    trailing_stop_percent: float | None = None
    target_percent: float | None = None


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. size: the quote amount of an entry. share: the part of a recorded trade's volume that an order may take."""

    schema: int = SCHEMA
    run_id: str
    strategy: str
    strategy_sha256: str
    seed: int
    size: Decimal
    latency: Latency
    made_with: str
    leverage: int = 1
    share: float = 0.1
    rules: ExitRules = ExitRules()
    venues: tuple[str, ...] = ()
    archives: tuple[ArchiveResult, ...] = ()


def encode(result: RunResult) -> bytes:
    """Return the file content of a result."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"


def decode(content: bytes, where: str = FILE) -> RunResult:
    """Return the result in a file's content. Raises StorageError if it is invalid, or from a newer version."""
    try:
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema != SCHEMA:
            raise StorageError(f"{where}: its schema is {schema}, and this version reads {SCHEMA}",
                               "a newer version wrote it: update PumpWatch")
        return msgspec.json.decode(content, type=RunResult)
    except msgspec.DecodeError as error:
        raise StorageError(f"{where}: cannot be read: {error}", "make it again: pumpwatch paper run") from error


class _Schema(msgspec.Struct):
    schema: int


def result_path(data: Path, run_id: str) -> Path:
    """Return the file of a run in a data folder."""
    return data / FOLDER / run_id / FILE


def read_result(path: Path) -> RunResult:
    """Return the result in a file. Raises StorageError if it cannot be read."""
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def write_result(data: Path, result: RunResult) -> Path:
    """Write a run's file, whole or not at all, and return its path. Raises OSError."""
    path = result_path(data, result.run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{FILE}.{os.getpid()}")
    with partial.open("wb") as out:
        out.write(encode(result))
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
    return path
