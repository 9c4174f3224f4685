"""Cells of several tables: venues, times, durations, sizes. Times are UTC."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pumpwatch.clock import NS_PER_S
from pumpwatch.commands.table import Cell


def venue_cell(exchange: str, market_type: str) -> Cell:
    """Return a venue: `binance.futures`, short `binance.f`."""
    return Cell(f"{exchange}.{market_type}", f"{exchange}.{market_type[:1]}")


def day(ns: int) -> str:
    """Return the day of a moment: 2026-11-27."""
    return f"{_moment(ns):%Y-%m-%d}"


def one_day(moments_ns: Iterable[int]) -> str:
    """Return the day of all these moments; empty for moments of several days, or for none."""
    days = {day(ns) for ns in moments_ns}
    return days.pop() if len(days) == 1 else ""


def time_cell(ns: int, *, with_day: bool, digits: int = 3, short_digits: int | None = None) -> Cell:
    """Return a moment: `2026-11-27 14:03:22.123456`, short `14:03:22.123`, shortest `14:03:22`.

    with_day: the short forms have the day, as in `11-27 14:03:22`. `digits` and `short_digits` count the decimals of a second.
    """
    moment, short = _moment(ns), digits if short_digits is None else short_digits
    brief = f"{moment:{'%m-%d ' if with_day else ''}%H:%M:%S}"
    return Cell(f"{moment:%Y-%m-%d %H:%M:%S}{_fraction(ns, digits)}", f"{brief}{_fraction(ns, short)}", brief)


def lasted(ns: int) -> str:
    """Return a duration in a suitable unit: `12 ms`, `3.2 s`, `47 s`, `2 min`, `1 h 5 min`, `3 d 2 h`."""
    seconds = ns / NS_PER_S
    if seconds < 1:
        return f"{ns / 1e6:.0f} ms" if ns >= 1_000_000 or not ns else "< 1 ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(size_bytes: float) -> str:
    """Return a number of bytes in a suitable unit: `1.5 GB`."""
    for unit in ("B", "KB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"


def count(number: int, noun: str, many: str = "") -> str:
    """Return a number with its noun: `1 gap`, `2 gaps`."""
    return f"{number:,} {noun if number == 1 else many or f'{noun}s'}"


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // NS_PER_S, UTC)


def _fraction(ns: int, digits: int) -> str:
    return f".{ns % NS_PER_S:09}"[: digits + 1] if digits else ""
