"""What a collector says of itself: the figures in its data folder, as one line, or as they are.

The collector replaces `status.json` in its data folder each second; whoever can read the folder can look. Nothing
here talks to the collector, so looking never slows it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.texts import one_line
from pumpwatch.ops.judgement import OK, judge
from pumpwatch.ops.status_file import FILE, Unreadable, read_figures

__all__ = ["FILE", "DamagedFigures", "problems", "read", "summary_line"]

SHOWN = 160  # characters of a reason in a line
SILENT_AFTER_S = 15.0  # written each second; this long without means that it hangs

Status = Mapping[str, Any]


class DamagedFigures(ServiceUnavailable):
    """Say so: the file is there, and holds no figures of a collector."""


def read(folder: Path, clock: Clock | None = None) -> dict[str, Any]:
    """Return the figures of the collector that runs on this data folder.

    Raises ServiceUnavailable where none runs, where it was killed, and where it has stopped writing; DamagedFigures where
    they cannot be read.
    """
    path = folder / FILE
    hint = "start one with `pumpwatch collect`, or name its config with -c"
    try:
        status = read_figures(folder)
    except FileNotFoundError:
        raise ServiceUnavailable(f"no collector runs on {folder}", hint) from None
    except Unreadable as error:
        raise DamagedFigures(f"{path}: these are no figures of a collector: {one_line(str(error), SHOWN)}",
                             "a running collector replaces the file each second: where none runs, start one") from error
    pid = int(status.get("pid", 0))
    silent_s = _silent_s(status, clock or Clock())
    if not pid:  # it said so itself
        raise ServiceUnavailable(f"no collector runs on {folder}: the last one ended {_ago(silent_s)}", hint)
    if not _alive(pid):
        raise ServiceUnavailable(f"no collector runs on {folder}: the last one (pid {pid}) died {_ago(silent_s)}", hint)
    if silent_s > SILENT_AFTER_S:
        raise ServiceUnavailable(f"the collector on {folder} (pid {pid}) has said nothing since {_ago(silent_s)}",
                                 "it hangs, is stopped, or its disk is full: look at its log")
    return status


def _silent_s(status: Status, clock: Clock) -> float:
    """Return how long ago the figures were written: by the machine's steady clock, by its date where it began anew since."""
    written_s = status.get("written_monotonic_s")
    if isinstance(written_s, float) and written_s <= clock.monotonic():
        return clock.monotonic() - written_s
    return (clock.now_ns() - int(status.get("written_at_ns", 0))) / NS_PER_S


def summary_line(status: Status) -> str:
    """Return a minute's health as one line: per exchange its connections, trades/s, lag and gaps; journal, sinks."""
    parts = [_exchange_part(name, rows) for name, rows in _by_exchange(status).items()]
    journal = status.get("journal", {})
    parts.append(f"journal backlog {_count(journal.get('backlog_trades', 0))}")
    parts += [f"{sink.get('name')} {sink.get('state')} {_count(sink.get('backlog_trades', 0))} behind"
              for sink in status.get("sinks", ())]
    return " | ".join(parts)


def problems(status: Status) -> list[str]:
    """Return what is wrong, a line each: venues that are not read, or not wholly, sinks, boards and the disk."""
    return [f"{one.name}: {one_line(one.text, SHOWN)}" for one in judge(status) if one.severity != OK]


def _by_exchange(status: Status) -> dict[str, list[Status]]:
    exchanges: dict[str, list[Status]] = {}
    for row in status.get("venues", ()):
        exchanges.setdefault(str(row.get("exchange")), []).append(row)
    return exchanges


def _exchange_part(name: str, rows: list[Status]) -> str:
    up = " + ".join(f"{row.get('market_type')} {row.get('connections_up', 0)}/{row.get('connections', 0)}"
                    for row in rows)
    rate = sum(float(row.get("trades_per_s", 0)) for row in rows)
    lag = max((float(row.get("lag_ms", 0)) for row in rows), default=0.0)
    gaps = sum(int(row.get("gaps_open", 0)) for row in rows)
    return f"{name}: {up} up, {rate:,.0f} trades/s, lag {lag:.0f} ms, gaps {gaps}"


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def _count(number: float) -> str:
    return f"{number:,.0f}"
