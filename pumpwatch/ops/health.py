"""Read the figures of a collector, and show them as one line.

The collector replaces `status.json` in its data folder each second. Reading the file does not slow the collector.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.findings import OK
from pumpwatch.net.texts import one_line
from pumpwatch.ops.judgement import judge
from pumpwatch.ops.status_file import FILE, Unreadable, read_figures

__all__ = ["FILE", "DamagedFigures", "problems", "read", "summary_line"]

SHOWN = 160  # characters of a reason in a line
SILENT_AFTER_S = 15.0  # the file is written each second; after this long without a write the collector hangs

Status = Mapping[str, Any]


class DamagedFigures(ServiceUnavailable):
    """The file exists and does not hold the figures of a collector."""


def read(folder: Path, clock: Clock | None = None) -> dict[str, Any]:
    """Return the figures of the collector that runs on this data folder.

    Raises ServiceUnavailable if no collector runs, or if it has stopped writing; DamagedFigures if the file is damaged.
    """
    path = folder / FILE
    hint = "start one with `pumpwatch collect`, or name its config with -c"
    try:
        status = read_figures(folder)
    except FileNotFoundError:
        raise ServiceUnavailable(f"no collector runs on {folder}", hint) from None
    except Unreadable as error:
        raise DamagedFigures(f"{path}: not the figures of a collector: {one_line(str(error), SHOWN)}",
                             "a running collector replaces the file each second: start one with `pumpwatch collect`") from error
    pid = int(status.get("pid", 0))
    silent_s = _silent_s(status, clock or Clock())
    if not pid:  # written by the collector itself at its end
        raise ServiceUnavailable(f"no collector runs on {folder}: the last one ended {_ago(silent_s)}", hint)
    if not _alive(pid):
        raise ServiceUnavailable(f"no collector runs on {folder}: the last one (pid {pid}) died {_ago(silent_s)}", hint)
    if silent_s > SILENT_AFTER_S:
        raise ServiceUnavailable(f"the collector on {folder} (pid {pid}) last wrote its figures {_ago(silent_s)}",
                                 "it hangs, is stopped, or its disk is full: check its log")
    return status


def _silent_s(status: Status, clock: Clock) -> float:
    """Return the age of the figures in s: by the monotonic clock, or by date if the machine was restarted since."""
    written_s = status.get("written_monotonic_s")
    if isinstance(written_s, float) and written_s <= clock.monotonic():
        return clock.monotonic() - written_s
    return (clock.now_ns() - int(status.get("written_at_ns", 0))) / NS_PER_S


def summary_line(status: Status) -> str:
    """Return the health as one line: connections, trades/s, lag and gaps of each exchange; journal, sinks."""
    parts = [_exchange_part(name, rows) for name, rows in _by_exchange(status).items()]
    journal = status.get("journal", {})
    parts += [gaps_in_words(status["backfill"])] if status.get("backfill") else []
    parts.append(f"journal backlog {_count(journal.get('backlog_trades', 0))}")
    parts += [f"{sink.get('name')} {sink.get('state')} {_count(sink.get('backlog_trades', 0))} behind"
              for sink in status.get("sinks", ())]
    return " | ".join(parts)


def gaps_in_words(backfill: Mapping[str, Any]) -> str:
    """Return the numbers of gaps by state, and the progress of the backfill of open ones."""
    states = ", ".join(f"{_count(backfill.get(state, 0))} {state}" for state in ("open", "filled", "lost"))
    left = int(backfill.get("left", 0))
    if not left:
        return f"gaps {states}"
    left_s = float(backfill.get("left_s", 0))
    about = f"{left_s:.0f} s" if left_s < 120 else f"{left_s / 60:.0f} min" if left_s < 7200 else f"{left_s / 3600:.1f} h"
    return f"gaps {states}, {_count(left)} symbol{'' if left == 1 else 's'} left, about {about}"


def problems(status: Status) -> list[str]:
    """Return a line for each problem of venues, sinks, boards, channels, disks and memory."""
    return [f"{judgement.name}: {one_line(judgement.detail, SHOWN)}" for judgement in judge(status) if judgement.state != OK]


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
