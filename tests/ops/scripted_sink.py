"""A sink of days, with a script and a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from pumpwatch.clock import NS_PER_S
from pumpwatch.hookspecs import Keeping
from pumpwatch.sink_abilities import StoredDay

DAY_NS = 86_400 * NS_PER_S


class DaySink:
    """Keeps `days` days up to `now_ns`, one of them being written, and drops them when it is asked to."""

    def __init__(self, now_ns: int, days: int, keeps_days: int = 30) -> None:
        last = now_ns // DAY_NS
        self.held = [StoredDay(f"day{last - age}", (last - age) * DAY_NS, (last - age + 1) * DAY_NS, 100, 5_000)
                     for age in range(days, 0, -1)]
        self.keeps_days, self.kept = keeps_days, [keeps_days]  # its own setting; every setting so far
        self.drops: list[list[str]] = []
        self.written: list[str] = []

    def keeping(self) -> Keeping:
        return Keeping(keeps_s=self.keeps_days * 86_400.0)

    def days(self) -> list[StoredDay]:
        return list(self.held)

    def keep_days(self, days: int) -> None:
        self.kept.append(days or self.keeps_days)

    def drop_days(self, days: Sequence[StoredDay]) -> None:
        self.drops.append([day.name for day in days])
        self.held = [day for day in self.held if day not in days]

    def write_parquet(self, day: StoredDay, file: BinaryIO) -> None:
        self.written.append(day.name)
        file.write(b"PAR1")

    def day_sums(self, day: StoredDay) -> tuple[int, int]:
        return day.trades, 7

    def files_in(self) -> str:
        return ""
