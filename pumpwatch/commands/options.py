"""Options of several commands: the config file, `--json`, moments in time."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pumpwatch.config import Config

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of numbers that excludes `nan` and `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        return found if math.isfinite(found) else self.fail(f"{value} is not a finite number.", param, ctx)


def config_option(command: F) -> F:
    """Add `-c FILE`, given to the command as a loaded Config."""
    return click.option("-c", "--config", "config", metavar="FILE", default=None, callback=_load, is_eager=False,
                        help="Read this config file; without it every key has its default.")(command)


def with_config(config: Config) -> str:
    """Return ` -c FILE`, with which another command reads the same config; empty without a file."""
    return f" -c {shlex.quote(config.source.name)}" if config.source.is_file else ""


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")(command)


def _load(context: click.Context, parameter: click.Parameter, value: str | None) -> Config:
    from pumpwatch.config import load

    return load(Path(value) if value else None)


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Parse a moment into ns since 1970, UTC: the callback of every option for a time."""
    if value is None:
        return None
    from pumpwatch.clock import Clock
    from pumpwatch.moments import parse_moment

    try:
        return parse_moment(value, Clock().now_ns())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time: give 2026-11-21T10:00:00Z (UTC unless it names a zone), "
                                 "an epoch in s, ms, us or ns, now, or -20m") from None


def refuse_unknown(known: Collection[tuple[str, str]], exchange: str | None, market: str | None = None) -> None:
    """Raise UsageError if none of the known venues, each (exchange, market_type), is of this exchange and market."""
    from pumpwatch.errors import UsageError

    if not any(exchange in (None, name) and market in (None, market_type) for name, market_type in known):
        names = sorted({f"{name} {market_type}" if exchange == name else name for name, market_type in known})
        raise UsageError(f"no exchange `{exchange or 'any'}`{f' with a market `{market}`' if market else ''}",
                         f"known: {', '.join(names)}")
