"""Make a run: play a strategy on each chosen tape, with each delay; and store the result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pumpwatch import __version__
from pumpwatch.accounts import open_account_ledger
from pumpwatch.paper.choice import Chosen
from pumpwatch.paper.job import Job, PlayedRow, Source
from pumpwatch.paper.kept import write_views
from pumpwatch.paper.record import record
from pumpwatch.paper.results import ArchiveResult, Latency, RunResult, write_result
from pumpwatch.paper.run_page import PriceLine
from pumpwatch.paper.sandbox import StrategyError, play_in_process
from pumpwatch.paper.settings import CASH, MEASURED, Settings
from pumpwatch.paper.sources import checksum
from pumpwatch.paper.tape import Tape

ID_CHARACTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The strategy and settings of a run. limit_s: how long one replay may take."""

    source: Source
    settings: Settings
    delays_ms: tuple[int, ...]
    venues: tuple[str, ...] = ()
    limit_s: float = 60.0


@dataclass(frozen=True, slots=True)
class MadeRun:
    """A run, and the replays of each of its archives with all actions.

    prices: by the number of the archive, for tapes that no archive has. failed: on how many archives the strategy failed.
    """

    result: RunResult
    played: tuple[tuple[PlayedRow, ...], ...]
    prices: dict[int, list[PriceLine]]
    failed: int = 0


def make_run(plan: RunPlan, listings: Iterable[Chosen], progress: Callable[[str], None] = lambda text: None) -> MadeRun:
    """Play the strategy on each listing. progress: called with a line before each.

    A listing on which the strategy fails is left out, with the reason. Raises StrategyError if it fails on all of them, and
    anything that `listings` raises.
    """
    archives, played, identities = [], [], []
    failures: list[StrategyError] = []
    prices: dict[int, list[PriceLine]] = {}
    for number, chosen in enumerate(listings):
        rows: tuple[PlayedRow, ...] = ()
        if (tape := chosen.tape) is not None:
            progress(f"{chosen.coin}: {len(tape):,} trades of {len(tape.markets)} markets")
            try:
                rows = play_in_process(Job(tape=tape, source=plan.source, settings=plan.settings, delays_ms=plan.delays_ms,
                                           limit_s=plan.limit_s))
            except StrategyError as error:
                failures.append(error)
                chosen = replace(chosen, left_out=f"the strategy failed: {error.message}")
            if not chosen.archive:
                prices[number] = _prices(tape)
        archives.append(ArchiveResult(chosen.archive, chosen.coin, chosen.triggered_at, tuple(row.outcome for row in rows),
                                      chosen.left_out))
        played.append(rows)
        identities.append(chosen.identity)
    if failures and not any(played):
        raise failures[0]
    settings, code = plan.settings, checksum(plan.source)
    latency = Latency(settings.latency, 0.0 if settings.latency == MEASURED else float(settings.latency_ms))
    result = RunResult(
        run_id="", strategy=plan.source.name, strategy_sha256=code, seed=settings.seed, size=settings.size, latency=latency,
        made_with=__version__, leverage=settings.leverage, share=settings.share, rules=settings.rules, venues=plan.venues,
        archives=tuple(archives))
    inputs = [msgspec.structs.replace(result, archives=()), plan.delays_ms, identities]
    run_id = hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()[:ID_CHARACTERS]
    return MadeRun(msgspec.structs.replace(result, run_id=run_id), tuple(played), prices, len(failures))


def _prices(tape: Tape) -> list[PriceLine]:
    """Return the prices of a tape, for the page of a listing without an archive."""
    trades = [tape.of(number) for number in range(len(tape.markets))]
    return [PriceLine(market.venue, market.symbol, found.timestamp, found.price, market.multiplier)
            for market, found in zip(tape.markets, trades, strict=True)]


def check_ledger(place: Path | str) -> None:
    """Open and close a ledger on a server, so that a run does not play for hours and then fail to be stored.

    A ledger file is not opened: it is created when there is something to store. Raises as the ledger does.
    """
    if isinstance(place, str):
        open_account_ledger(place).close()


def keep_run(made: MadeRun, data: Path, ledger_place: Path | str) -> Path:
    """Record a run in the account ledger, write its files, and return the path of its result.

    If it is killed, each replay is in the ledger as a whole or not at all, and each file is complete or absent; making the same
    run again completes them. Raises OSError, and as the ledger does.
    """
    data.mkdir(parents=True, exist_ok=True)
    result = made.result
    with open_account_ledger(ledger_place) as ledger:
        for number, (archive, rows) in enumerate(zip(result.archives, made.played, strict=True)):
            for row in rows:
                delay_ms = row.outcome.delay_ms
                record(ledger, f"{result.run_id}-{number}-{delay_ms}", f"{archive.coin} {result.strategy} {delay_ms} ms",
                       result.size * CASH, archive.coin, archive.triggered_at, row.actions)
    path = write_result(data, result)
    write_views(path.parent, result, made.prices or None)
    return path
