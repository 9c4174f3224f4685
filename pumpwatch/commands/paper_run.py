"""Commands that play strategies: `paper run` and `paper new`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import FiniteRange, config_option, json_option, moment
from pumpwatch.commands.output import hushed, print_json, print_line, print_message
from pumpwatch.commands.paper_ledger import ledger_place
from pumpwatch.commands.paper_views import print_outcomes, print_summary
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, UsageError

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.paper.choice import Chosen
    from pumpwatch.paper.results import RunResult

LONGEST_DELAY_MS = 24 * 3600 * 1000
MOST_DELAYS = 100
REASONS = 5  # reasons for rejections that are listed


def _delays(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    words = [word.strip() for word in value.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", word) and int(word) <= LONGEST_DELAY_MS for word in words) or len(words) > MOST_DELAYS:
        raise click.BadParameter(f"{value!r} is not a list of ms such as 100,300,1000, each at most {LONGEST_DELAY_MS:,}")
    return tuple(dict.fromkeys(map(int, words)))


def _size(context: click.Context, parameter: click.Parameter, value: str) -> Decimal:
    try:
        found = Decimal(value)
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or not 0 < found <= Decimal(10) ** 12 or found != round(found, 8):
        raise click.BadParameter(f"{value!r} is not an amount above 0 with at most 8 decimals")
    return Decimal(f"{found.normalize():f}")  # 1000 and 1000.0 are the same run


def _latency(context: click.Context, parameter: click.Parameter, value: str) -> float | None:
    """Return a latency in ms; None for `measured`."""
    if value == "measured":
        return None
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found <= LONGEST_DELAY_MS:
        raise click.BadParameter(f"{value!r} is neither a number of ms nor `measured`")
    return found


@click.command("run")
@click.argument("coin", required=False)
@click.option("--at", "at_ns", callback=moment, metavar="TIME", help="Play the stored trades of COIN around this time.")
@click.option("--archive", type=click.Path(path_type=Path), metavar="DIR", help="Play this archive of a listing.")
@click.option("--all", "everything", is_flag=True, help="Play every listing that the data folder knows.")
@click.option("--strategy", "wanted", default="buy_first", show_default=True, metavar="NAME|FILE",
              help="A strategy of a plugin, or a Python file.")
@click.option("--delay-ms", "delays", default="300", show_default=True, callback=_delays, metavar="MS,MS",
              help="Start the strategy this long after the listing was seen; each delay gives a row.")
@click.option("--size", default="1000", show_default=True, callback=_size, metavar="USDT", help="The size of an entry.")
@click.option("--latency-ms", "latency", default="50", show_default=True, callback=_latency, metavar="MS|measured",
              help="The latency of trades to the strategy and of orders to the venue; `measured` draws it from the tape.")
@click.option("--hold-s", type=FiniteRange(0, min_open=True), metavar="S", help="Close a position after this time.")
@click.option("--trailing-stop", type=FiniteRange(0, 100, min_open=True), metavar="%",
              help="Close it when the price has retreated this far from its best.")
@click.option("--target", type=FiniteRange(0, min_open=True), metavar="%", help="Close it at this gain.")
@click.option("--leverage", type=click.IntRange(1, 1000), default=1, show_default=True, help="The leverage of futures orders.")
@click.option("--venue", "venues", multiple=True, metavar="NAME", help="Only this venue, such as EXCHANGE.spot. Repeatable.")
@click.option("--share", type=FiniteRange(0, 100, min_open=True), default=10.0, show_default=True, metavar="%",
              help="Fill at most this share of a recorded trade's volume.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="The seed of all random numbers.")
@click.option("--limit-s", type=FiniteRange(0, 86_400, min_open=True), default=60.0, show_default=True, metavar="S",
              help="Stop a strategy that takes longer for one replay.")
@click.option("--keep/--no-keep", default=True, show_default=True,
              help="Record the run in the account ledger, and write its files.")
@json_option
@config_option
def run(coin: str | None, at_ns: int | None, archive: Path | None, everything: bool, wanted: str, delays: tuple[int, ...],
        size: Decimal, latency: float | None, hold_s: float | None, trailing_stop: float | None, target: float | None,
        leverage: int, venues: tuple[str, ...], share: float, seed: int, limit_s: float, keep: bool, as_json: bool,
        config: Config) -> int:
    """Play a strategy on recorded trades, and show what it would have earned.

    Give a COIN with --at, an --archive, or --all. Orders are filled against the recorded books and trades, after a latency and
    with fees; no order leaves this machine. The included strategies are buy_first, momentum, fade and spread. A strategy runs in
    a separate process without network access. The same trades and seed give the same result. Exit code 1 if the strategy fails:
    the message names its line, and --all continues with the other listings.

    \b
    Example: pumpwatch paper run SOMI --at 2026-11-21T10:00:00Z --hold-s 10
             pumpwatch paper run --archive data/SOMI_X --strategy ./mine.py
             pumpwatch paper run --all --strategy momentum --trailing-stop 3
    """
    from pumpwatch.paper.kept import PAGE
    from pumpwatch.paper.results import ExitRules
    from pumpwatch.paper.run import RunPlan, check_ledger, keep_run, make_run
    from pumpwatch.paper.settings import FIXED, MEASURED, Settings
    from pumpwatch.paper.sources import find_source
    from pumpwatch.paper.summary import summarise
    from pumpwatch.plugins import load_plugins

    listings = _listings(config, coin, at_ns, archive, everything, venues)
    with hushed("pumpwatch.plugins"):
        plugins = load_plugins(config)
    settings = Settings(size=size, seed=seed, latency=MEASURED if latency is None else FIXED, latency_ms=latency or 0.0,
                        leverage=leverage, share=share / 100, rules=ExitRules(hold_s, trailing_stop, target))
    plan = RunPlan(source=find_source(wanted, plugins), settings=settings, delays_ms=delays, venues=tuple(sorted(set(venues))),
                limit_s=limit_s)
    if keep:
        check_ledger(ledger_place(config))
    made = make_run(plan, listings, (lambda text: None) if as_json else print_message)
    path = keep_run(made, Path(config.store.dir), ledger_place(config)) if keep else None
    if as_json:
        print_json([_plain(made.result)])
        return EXIT_FOUND if made.failed else EXIT_OK
    result = made.result
    if any(archive.outcomes for archive in result.archives):
        print_outcomes(result)
    if len(result.archives) > 1 or result.archives[0].left_out:
        print_summary(summarise(result))
    print_message(*_rejected(result))
    if path is not None:
        print_line(path.with_name(PAGE))
    if made.failed:
        print_message(f"the strategy failed on {made.failed:,} of {len(result.archives):,} listings, which the figures leave out")
    return EXIT_FOUND if made.failed else EXIT_OK


def _rejected(result: RunResult) -> list[str]:
    """Return the reasons for rejected orders, the most frequent first."""
    reasons = Counter(row.reason for archive in result.archives for outcome in archive.outcomes for row in outcome.rejected)
    more = [f"rejected for {len(reasons) - REASONS} more reasons: --json has all"] if len(reasons) > REASONS else []
    return [f"rejected {count:,}: {reason}" for reason, count in reasons.most_common(REASONS)] + more


def _listings(config: Config, coin: str | None, at_ns: int | None, archive: Path | None, everything: bool,
              venues: tuple[str, ...]) -> Iterator[Chosen]:
    from pumpwatch.paper.choice import every_listing, one_archive, one_window

    if (coin is not None) + (archive is not None) + everything != 1 or (coin is None) != (at_ns is None):
        raise UsageError("give one of: COIN with --at TIME, --archive DIR, --all",
                         "as in: pumpwatch paper run SOMI --at 2026-11-21T10:00:00Z")
    if archive is not None:
        return one_archive(archive, venues)
    return every_listing(config, venues) if everything else one_window(config, coin or "", at_ns or 0, venues)


def _plain(result: Any) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(result)
    return found


@click.command("new")
@click.argument("name")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path(), metavar="DIR",
              help="Write it into this folder.")
def new(name: str, folder: Path) -> int:
    """Create a strategy to begin with.

    NAME.py is a commented file that runs unchanged. In the plugin folder of the config it is found by its name.

    \b
    Example: pumpwatch paper new buy_dips
    """
    from pumpwatch.commands.output import program
    from pumpwatch.paper.new_strategy import write_strategy

    path = write_strategy(name, folder)
    print_line(path)
    print_message(f"try it: {program()} paper run COIN --at TIME --strategy {'./' if path.parent == Path() else ''}{path}")
    return 0
