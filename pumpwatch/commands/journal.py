"""The command `gaps`: trades that may be missing, and the results of backfills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.cells import count, one_day
from pumpwatch.commands.options import config_option, json_option, moment, refuse_unknown
from pumpwatch.commands.output import print_json, print_message, print_table
from pumpwatch.errors import EXIT_FOUND, EXIT_OK

SHOWN = 40  # rows of a table without --limit

if TYPE_CHECKING:
    from pumpwatch.commands.fill_note import Fills
    from pumpwatch.commands.outages import Outage
    from pumpwatch.config import Config
    from pumpwatch.model import Gap


@click.command()
@click.option("--from", "start_ns", callback=moment, default="-24h", show_default=True, metavar="TIME",
              help="Gaps that end after this moment.")
@click.option("--to", "end_ns", callback=moment, default="now", show_default=True, metavar="TIME",
              help="Gaps that begin before this moment.")
@click.option("--exchange", metavar="NAME", help="Only gaps of this exchange.")
@click.option("--limit", type=click.IntRange(1), default=SHOWN, show_default=True, metavar="N",
              help="Show the last N rows; --json has all.")
@click.option("--all", "with_all", is_flag=True, help="Show a row for each gap, filled ones too, instead of one for each outage.")
@json_option
@config_option
def gaps(start_ns: int, end_ns: int, exchange: str | None, limit: int, with_all: bool, as_json: bool, config: Config) -> int:
    """List the gaps, in which trades may be missing.

    A row is an outage: all gaps of one failure, with the result of the backfill below it. Its state is the worst of its gaps':
    open, then lost, then filled. A gap is of one symbol, of some symbols of a connection, or of a whole venue; --all and --json
    list each. A gap with ids is proven by a jump in them. Works beside a running collector. Exit code 1 if a gap is not filled.

    \b
    Example: pumpwatch gaps --from -2h --exchange okx
             pumpwatch gaps --all
    """
    from pumpwatch.plugins import load_plugins
    from pumpwatch.store.pending_records import gap_key

    between, fills = _gaps_between(Path(config.store.dir), start_ns, end_ns)
    if exchange is not None:
        known = {(venue.exchange, venue.market_type) for venue in load_plugins(config).venues}
        refuse_unknown(known | {(gap.exchange, gap.market_type) for gap in between}, exchange)
    chosen = [gap for gap in between if exchange in (None, gap.exchange)]
    found = [gap for gap in chosen if with_all or gap.state != "filled"]
    filled = [gap for gap in chosen if not with_all and gap.state == "filled" and gap_key(gap) in fills]
    if as_json:
        print_json(_as_json(gap, fills) for gap in found)
    elif found and with_all:
        _print_gaps(found, limit, fills)
    elif found or filled:
        _print_outages([*found, *filled], limit, Path(config.store.dir), fills)
    more = f", and {len(filled):,} more that {'is' if len(filled) == 1 else 'are'} filled" if filled else ""
    print_message(count(len(found), "gap") + more)
    return EXIT_FOUND if any(gap.state != "filled" for gap in found) else EXIT_OK


def _as_json(gap: Gap, fills: Fills) -> dict[str, Any]:
    from pumpwatch.commands.fill_note import as_json, fills_of

    fill = as_json(fills_of([gap], fills))
    return {"exchange": gap.exchange, "market_type": gap.market_type, "symbol": gap.symbol, "from_ns": gap.from_ns,
            "to_ns": gap.to_ns, "first_id": gap.first_id, "last_id": gap.last_id, "state": gap.state.value,
            "reason": gap.reason, "symbols": gap.symbols, **({"fill": fill} if fill else {})}


def _gaps_between(folder: Path, start_ns: int, end_ns: int) -> tuple[list[Gap], Fills]:
    """Return the gaps between two moments, including those not yet in the ledger, and their fills.

    Raises ServiceUnavailable if nothing is stored.
    """
    from pumpwatch.commands.fill_note import by_gap
    from pumpwatch.errors import ServiceUnavailable
    from pumpwatch.store.ledger import Ledger, is_missing
    from pumpwatch.store.waiting import waiting_gaps

    if is_missing(folder):
        raise ServiceUnavailable(f"nothing is stored in {folder}", "name the collector's config with -c")
    ledger = Ledger(folder, read_only=True)
    try:
        between, fills = ledger.gaps_between(start_ns, end_ns), ledger.fills_between(start_ns, end_ns)
    finally:
        ledger.close()
    waiting = [gap for gap in waiting_gaps(folder) if gap.to_ns > start_ns and gap.from_ns < end_ns and gap not in between]
    return between + waiting, by_gap(fills)


def _print_gaps(found: Sequence[Gap], limit: int, fills: Fills) -> None:
    from pumpwatch.commands.gap_table import GAPS, gap_rows

    found = sorted(found, key=lambda gap: gap.from_ns)
    shown = found[-limit:]
    print_table(GAPS, gap_rows(shown, fills), _title(len(shown), count(len(found), "gap"), shown, len(shown) < len(found)))


def _print_outages(found: Sequence[Gap], limit: int, folder: Path, fills: Fills) -> None:
    from pumpwatch.catalogue import Catalogue
    from pumpwatch.commands.gap_table import OUTAGES, outage_rows
    from pumpwatch.commands.outages import outages
    from pumpwatch.store.reader import JournalReader

    summed = outages(found)
    shown, catalogue = summed[-limit:], Catalogue()
    JournalReader(folder, catalogue).load_instruments()
    print_table(OUTAGES, outage_rows(shown, lambda venue: len(catalogue.ids_of(venue)), fills),
                _title(len(shown), count(len(summed), "outage"), shown, len(shown) < len(summed)))


def _title(number: int, of: str, shown: Sequence[Gap] | Sequence[Outage], cut: bool) -> str:
    day = one_day(row.from_ns for row in shown)
    return f"{f'the last {number:,} of {of}' if cut else of}, {f'{day} UTC' if day else 'times in UTC'}"
