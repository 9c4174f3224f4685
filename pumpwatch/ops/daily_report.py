"""Write a report of each day's completeness, `reports/DATE.json`, and update it while gaps of the day may be filled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch import __version__
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.ops.completeness import SETTLE_S, Judge, Summary, VenueFacts
from pumpwatch.store.coverage import CoverageFile, Venue
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.sqlite import private_folder, storage_error, write_private

FOLDER = "reports"
FORMAT = 1
DAY_NS = 86_400 * NS_PER_S
DUE_S = 600.0  # from the end of its day
AGAIN_DAYS = 3  # daily updates after that
FLAWS = 1000  # contradictions in a report
NAME = re.compile(r"\d{4}-\d\d-\d\d\.json")


class DailyReports:
    """The reports of one data folder. `facts`: of the venues that are known."""

    def __init__(self, folder: Path, facts: Mapping[Venue, VenueFacts], keep_days: int) -> None:
        self.folder = folder / FOLDER
        self._data, self._facts, self._keep_days = folder, facts, keep_days

    def write_due(self, now_ns: int) -> list[Path]:
        """Write the reports that are due, remove those that are too old, and return the written files.

        A report waits until every trade of its day is counted. A day without any data has no report. Raises StorageError if the
        disk refuses or a ledger cannot be read.
        """
        file = CoverageFile(self._data, read_only=True)
        try:
            counted_ns, venues = file.counted_at_ns, file.venues()
        finally:
            file.close()
        written = []
        today = now_ns // DAY_NS
        for number in range(today - min(AGAIN_DAYS + 1, self._keep_days), today):
            whole = counted_ns >= (number + 1) * DAY_NS + int(SETTLE_S * NS_PER_S)
            if whole and self._is_due(number, now_ns) and self._write(number, now_ns, venues):
                written.append(self.path(number))
        self._remove_old(today)
        return written

    def path(self, number: int) -> Path:
        """Return the file of a day, counted since 1970."""
        return self.folder / f"{_date(number)}.json"

    def _is_due(self, number: int, now_ns: int) -> bool:
        first_ns = (number + 1) * DAY_NS + int(DUE_S * NS_PER_S)
        due = [first_ns + again * DAY_NS for again in range(AGAIN_DAYS + 1) if first_ns + again * DAY_NS <= now_ns]
        return bool(due) and _made_at_ns(self.path(number)) < due[-1]

    def _write(self, number: int, now_ns: int, venues: Sequence[Venue]) -> bool:
        summary = Summary(self._facts)
        judge = Judge(self._data, self._facts)
        start_ns, end_ns = number * DAY_NS, (number + 1) * DAY_NS
        for venue in venues:  # one at a time, to save memory
            summary.add(judge.day(start_ns // MINUTE_NS, end_ns // MINUTE_NS, quick=True, venues=[venue]))
        if not summary.venues:
            return False
        report: dict[str, Any] = {
            "format": FORMAT, "date": str(_date(number)), "from_ns": start_ns, "to_ns": end_ns, "made_at_ns": now_ns,
            "version": __version__, "gap_minutes": summary.gap_minutes,
            "venues": [venue.as_json() for venue in summary.venues.values()],
            "contradictions": [flaw.as_json() for flaw in summary.flaws[:FLAWS]], "contradictions_total": len(summary.flaws)}
        path = self.path(number)
        try:
            private_folder(self.folder)
            write_private(path, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        except OSError as error:
            raise storage_error(path, "write", error) from error
        return True

    def _remove_old(self, today: int) -> None:
        oldest = f"{_date(today - self._keep_days)}.json"
        for path in self.folder.glob("*.json"):
            if NAME.fullmatch(path.name) and path.name < oldest:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise StorageError(f"{path}: remove failed: {error.strerror}") from error


def _made_at_ns(path: Path) -> int:
    """Return when a report was made, ns since 1970; 0 without a readable report."""
    try:
        return int(msgspec.json.decode(path.read_bytes())["made_at_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _date(number: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).date()
