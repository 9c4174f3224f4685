"""Options that several commands have: the config file, `--json`, moments in time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pumpwatch.config import Config

F = TypeVar("F", bound=Callable[..., Any])

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NS = 1_000_000_000


def config_option(command: F) -> F:
    """Add `-c FILE`, given to the command as a loaded Config."""
    return click.option("-c", "--config", "config", metavar="FILE", default=None, callback=_load, is_eager=False,
                        help="Read this config file; without it every key has its default.")(command)


def with_config(config: Config) -> str:
    """Return the words ` -c FILE` with which another command reads the same config; empty if there is no file."""
    return f" -c {shlex.quote(config.source.name)}" if config.source.is_file else ""


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")(command)


def _load(context: click.Context, parameter: click.Parameter, value: str | None) -> Config:
    from pumpwatch.config import load

    return load(Path(value) if value else None)


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Turn a point in time into ns UTC: the callback of every option of a time."""
    if value is None:
        return None
    from pumpwatch.clock import Clock

    try:
        return parse_moment(value, Clock().now_ns())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time: give 2026-11-21T10:00:00Z (UTC unless it names a zone), "
                                 "an epoch in s, ms, us or ns, now, or -20m") from None


def parse_moment(text: str, now_ns: int) -> int:
    """Return ns UTC. Raises ValueError if the text is not a time."""
    text = text.strip()
    if text == "now":
        return now_ns
    ago = re.fullmatch(r"-(\d+(?:\.\d+)?)([smhd])", text)
    if ago:
        return now_ns - round(float(ago.group(1)) * UNITS_S[ago.group(2)] * NS)
    epoch = re.fullmatch(r"(\d{9,19})(?:\.(\d+))?", text)
    if epoch:
        whole, fraction = epoch.groups()
        unit: int = 10 ** (9 - 3 * max(0, -(-(len(whole) - 11) // 3)))  # 9-11 digits s, 12-14 ms, 15-17 us, 18+ ns
        return int(whole) * unit + (int(fraction[:9].ljust(9, "0")) * unit // NS if fraction else 0)
    return _from_iso(text)


def _from_iso(text: str) -> int:
    from datetime import UTC, datetime

    fraction = re.search(r"\.(\d+)", text)  # datetime keeps microseconds, trades have nanoseconds
    moment = datetime.fromisoformat(text.replace(fraction.group(0), "", 1) if fraction else text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    nanoseconds = int(fraction.group(1)[:9].ljust(9, "0")) if fraction else 0
    return round(moment.timestamp()) * NS + nanoseconds


def refuse_unknown(known: Collection[tuple[str, str]], exchange: str | None, market: str | None = None) -> None:
    """Raise UsageError if none of the known venues, each (exchange, market_type), is of this exchange and market."""
    from pumpwatch.errors import UsageError

    if not any(exchange in (None, name) and market in (None, market_type) for name, market_type in known):
        names = sorted({f"{name} {market_type}" if exchange == name else name for name, market_type in known})
        raise UsageError(f"no exchange `{exchange or 'any'}`{f' with a market `{market}`' if market else ''}",
                         f"known: {', '.join(names)}")
