"""Commands that show the account ledger, and check it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_message, print_table, terminal_width
from pumpwatch.commands.table import Column

if TYPE_CHECKING:
    from pumpwatch.accounts import Account, AccountLedger, Event, HeldPosition, Order
    from pumpwatch.config import Config

SHOWN = 40  # rows of orders and events without --limit

F = TypeVar("F", bound=Callable[..., Any])

ACCOUNTS = (Column("account", wraps=True), Column("name", rank=2, optional=True), Column("balance", right=True),
            Column("available", right=True, rank=1), Column("locked", right=True), Column("asset"),
            Column("other assets", optional=True, wraps=True))
ORDERS = (Column("order", wraps=True), Column("state"), Column("venue", rank=1), Column("symbol"), Column("side"),
          Column("kind", rank=2), Column("quantity", right=True), Column("price", right=True, optional=True),
          Column("filled", right=True))
POSITIONS = (Column("account", rank=2), Column("venue", rank=1), Column("symbol"), Column("side"), Column("quantity", right=True),
             Column("entry", right=True), Column("mark", right=True), Column("liquidation", right=True, optional=True),
             Column("unrealised", right=True), Column("realised", right=True))
EVENTS = (Column("position", right=True), Column("time"), Column("of", wraps=True), Column("version", right=True, rank=1),
          Column("event"))


def _account_option(command: F) -> F:
    return click.option("--account", metavar="ID", help="Only this account.")(command)


def _limit_option(command: F) -> F:
    return click.option("--limit", type=click.IntRange(1), default=SHOWN, show_default=True, metavar="N",
                        help="Only the last N.")(command)


def ledger_place(config: Config) -> str | Path:
    """Return the address or the file of the account ledger that a config names."""
    from pumpwatch.accounts import FILE_NAME

    return config.paper.ledger_dsn or Path(config.store.dir) / FILE_NAME


def _opened(config: Config) -> AccountLedger:
    """Open the ledger for reading. Raises UsageError without one."""
    from pumpwatch.accounts import open_account_ledger
    from pumpwatch.errors import UsageError

    place = ledger_place(config)
    if isinstance(place, Path) and not place.exists():
        raise UsageError(f"{place} does not exist", "`pumpwatch paper run` creates the account ledger")
    return open_account_ledger(place, read_only=True)


def _figure(value: Decimal | None) -> str:
    """Return an amount for a table, with at most 8 decimals."""
    if value is None:
        return ""
    text = f"{value:,.8f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@click.command()
@json_option
@config_option
def accounts(as_json: bool, config: Config) -> int:
    """Show the accounts of the account ledger.

    A balance is the sum of its available part and its locked part: that of open orders and the margin of positions. The table has
    8 decimals, --json has all 18.

    \b
    Example: pumpwatch paper accounts
    """
    from pumpwatch.accounts.records import builtins

    with _opened(config) as ledger:
        found = ledger.accounts()
    if as_json:
        print_json(map(builtins, found))
    elif found:
        print_table(ACCOUNTS, map(_account_row, found))
    print_message(f"{len(found):,} accounts")
    return 0


def _account_row(account: Account) -> list[str]:
    others = ", ".join(f"{_figure(amount)} {asset}" for asset, amount in account.holdings.items())
    return [account.account_id, account.name, _figure(account.balance), _figure(account.available), _figure(account.locked),
            account.asset, others]


@click.command()
@_account_option
@click.option("--state", metavar="STATE", help="Only orders of this state: waiting, open, partly_filled, filled, "
                                               "cancelled, rejected or expired.")
@_limit_option
@json_option
@config_option
def orders(account: str | None, state: str | None, limit: int, as_json: bool, config: Config) -> int:
    """Show the last orders of the account ledger.

    \b
    Example: pumpwatch paper orders --state open
    """
    from pumpwatch.accounts.records import STATES, builtins
    from pumpwatch.errors import UsageError

    if state is not None and state not in STATES:
        raise UsageError(f"{state!r} is not a state of an order", f"known: {', '.join(STATES)}")
    with _opened(config) as ledger:
        found = ledger.orders(account, state, limit=limit)
    if as_json:
        print_json(map(builtins, found))
    elif found:
        print_table(ORDERS, map(_order_row, found))
    print_message(f"{len(found):,} orders")
    return 0


def _order_row(order: Order) -> list[str]:
    placed, progress = order.placed, order.progress
    return [placed.order_id, progress.state, placed.venue, placed.symbol, placed.side, placed.kind, _figure(placed.quantity),
            _figure(placed.price), _figure(progress.filled)]


@click.command()
@_account_option
@click.option("--all", "closed", is_flag=True, help="Show closed positions too.")
@json_option
@config_option
def positions(account: str | None, closed: bool, as_json: bool, config: Config) -> int:
    """Show positions of the account ledger, with their profit and loss.

    \b
    Example: pumpwatch paper positions --all
    """
    from pumpwatch.accounts.records import builtins

    with _opened(config) as ledger:
        found = ledger.positions(account, flat=closed)
    if as_json:
        print_json(map(builtins, found))
    elif found:
        print_table(POSITIONS, map(_position_row, found))
    print_message(f"{len(found):,} positions")
    return 0


def _position_row(held: HeldPosition) -> list[str]:
    position = held.position
    return [held.account_id, position.venue, position.symbol, position.side, _figure(position.quantity),
            _figure(position.entry_price), _figure(position.mark_price),
            _figure(position.liquidation_price), _figure(position.unrealised_pnl),
            _figure(position.realised_pnl)]


@click.command()
@click.option("--of", "aggregate", metavar="ID", help="Only events of this account or user.")
@click.option("--after", type=click.IntRange(0), default=0, metavar="POSITION", help="Only events after this position.")
@click.option("--limit", type=click.IntRange(1), default=SHOWN, show_default=True, metavar="N", help="Only the first N.")
@json_option
@config_option
def events(aggregate: str | None, after: int, limit: int, as_json: bool, config: Config) -> int:
    """Show the events of the account ledger in order.

    Every row of the other tables follows from them. --json has the changes of each event.

    \b
    Example: pumpwatch paper events --after 1000 --json
    """
    from pumpwatch.accounts.records import builtins

    with _opened(config) as ledger:
        found = ledger.events(aggregate, after, limit)
    if as_json:
        print_json(map(builtins, found))
    elif found:
        print_table(EVENTS, map(_event_row, found))
    print_message(f"{len(found):,} events")
    if len(found) == limit:
        print_message(f"  more events: --after {found[-1].position}")
    return 0


def _event_row(event: Event) -> list[str]:
    from pumpwatch.listing.manifest import iso

    return [f"{event.position}", iso(event.at_ns), event.aggregate_id, f"{event.version}", event.kind]


@click.command()
@json_option
@config_option
def check(as_json: bool, config: Config) -> int:
    """Prove the account ledger from its events.

    The entries of each event must sum to zero, every balance must be the sum of its entries, versions must be consecutive, and a
    replay of the events must give the stored rows. Exit code 1 if a check fails.

    \b
    Example: pumpwatch paper check
    """
    from pumpwatch.commands.finding_table import FINDINGS, finding_rows
    from pumpwatch.errors import EXIT_FOUND, EXIT_OK
    from pumpwatch.findings import OK

    with _opened(config) as ledger:
        found = ledger.check()
    if as_json:
        print_json(_finding_records(found))
    else:
        print_table(FINDINGS, finding_rows(found, terminal_width()))
    return EXIT_OK if all(finding.state == OK for finding in found) else EXIT_FOUND


def _finding_records(found: Sequence[Any]) -> list[dict[str, str]]:
    return [{"name": finding.name, "state": finding.state, "detail": finding.detail, "hint": finding.hint} for finding in found]
