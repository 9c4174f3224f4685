"""The figures of scheduled jobs: when each ran last, how it ended, when it is due, and by how much it is overdue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.printable import printable

WATCHED = EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES


@dataclass(slots=True)
class _Runs:
    """The runs of one job. Times in seconds are monotonic; began_s: of the first look or run."""

    began_s: float
    submitted_s: float | None = None
    ended_s: float | None = None
    last_s: float | None = None  # duration of the last run
    last_at_ns: int | None = None  # when it ended, ns UTC
    runs: int = 0
    failures: int = 0
    skipped: int = 0
    error: str = ""  # of the last run


class JobFigures:
    """Listens to a scheduler. `rows` may be asked at any time, on the hub."""

    def __init__(self, scheduler: Any, clock: Clock) -> None:
        self._scheduler, self._clock = scheduler, clock
        self._runs: dict[str, _Runs] = {}
        scheduler.add_listener(self._heard, WATCHED)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a job, by name.

        name, runs, failures, skipped, error (of the last run, empty where it ended well), last_s (its duration) and last_at_ns (its
        end), both null before the first; next_at_ns; interval_s; overdue_s: how much longer than the interval no run has ended.
        """
        return sorted(self._rows(), key=lambda row: str(row["name"]))

    def _rows(self) -> Iterator[dict[str, Any]]:
        if not self._scheduler.running:
            return
        now_s = self._clock.monotonic()
        for job in self._scheduler.get_jobs():
            runs = self._runs.setdefault(job.id, _Runs(now_s))
            interval_s = _interval_s(job)
            since_s = now_s - (runs.began_s if runs.ended_s is None else runs.ended_s)
            next_ns = int(job.next_run_time.timestamp() * NS_PER_S) if job.next_run_time else None
            yield {"name": name_of(job), "runs": runs.runs, "failures": runs.failures, "skipped": runs.skipped,
                   "error": runs.error, "last_s": runs.last_s, "last_at_ns": runs.last_at_ns, "next_at_ns": next_ns,
                   "interval_s": interval_s, "overdue_s": round(max(0.0, since_s - interval_s), 1)}

    def _heard(self, event: Any) -> None:
        now_s = self._clock.monotonic()
        runs = self._runs.setdefault(event.job_id, _Runs(now_s))
        if event.code == EVENT_JOB_SUBMITTED:
            runs.submitted_s = now_s
        elif event.code == EVENT_JOB_MAX_INSTANCES:
            runs.skipped += 1
        else:
            runs.runs += 1
            runs.ended_s, runs.last_at_ns = now_s, self._clock.now_ns()
            runs.last_s = round(now_s - runs.submitted_s, 3) if runs.submitted_s is not None else None
            failed = event.code == EVENT_JOB_ERROR
            runs.failures += failed
            runs.error = printable(f"{type(event.exception).__name__}: {event.exception}") if failed else ""


def name_of(job: Any) -> str:
    """Return a job's name, which says what it does: `retention`, `listing.inbox`."""
    return str(job.id if job.id and not _is_random(job.id) else job.name)


def _is_random(job_id: str) -> bool:
    """Return whether APScheduler made an id: 32 hexadecimal digits."""
    return len(job_id) == 32 and all(digit in "0123456789abcdef" for digit in job_id)


def _interval_s(job: Any) -> float:
    """Return the time between two runs; of a job at times of the day that between the next two."""
    due = job.next_run_time or datetime.now(UTC)
    following = job.trigger.get_next_fire_time(due, due)
    return round((following - due).total_seconds(), 1) if following else 0.0
