"""An APScheduler that keeps its intervals when the wall clock is stepped.

APScheduler plans by wall time: after a step back every job would wait for as long as the step was, and after a step forward it
would list every run that it considers missed. Here a job is due one interval after its last run or, if the wall clock contradicts
that, one interval from now. `reschedule_all` moves jobs that a step has left too far ahead.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobEvent
from apscheduler.schedulers.gevent import GeventScheduler
from apscheduler.triggers.base import BaseTrigger

from pumpwatch.clock import Clock


class Every(BaseTrigger):  # type: ignore[misc]
    """Fires every `seconds`, up to `jitter` seconds later. Missed runs are replaced by one run."""

    def __init__(self, seconds: float, jitter: float = 0.0) -> None:
        self._interval, self._jitter_s = timedelta(seconds=seconds), jitter

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the time of the next run: after now, and at most an interval and the jitter away."""
        due = (previous_fire_time or now) + self._interval
        if not now < due <= now + self._interval:
            due = now + self._interval
        return due + timedelta(seconds=random.uniform(0, self._jitter_s))

    def latest(self, now: datetime) -> datetime:
        """Return the latest time of the next run."""
        return now + self._interval + timedelta(seconds=self._jitter_s)


@dataclass(slots=True)
class LastRun:
    """The last run of a job, and its counts. alive_s: when the last run ended, or else when the job was first seen; monotonic."""

    alive_s: float
    began: datetime | None = None
    ended: datetime | None = None
    runs: int = 0
    errors: int = 0
    skipped: int = 0  # because the previous run had not ended
    error: str = ""  # of the last run, empty if it succeeded


class Scheduler(GeventScheduler):  # type: ignore[misc]
    """The scheduler of a collector. A late job runs once, and never twice at a time."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        super().__init__(timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None})
        self._last: dict[str, LastRun] = {}
        self._lasts_s: dict[str, float] = {}
        self.add_listener(self._record, EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)

    def _run_of(self, job_id: str) -> LastRun:
        return self._last.setdefault(job_id, LastRun(self._clock.monotonic()))

    def _record(self, event: JobEvent) -> None:
        run, now = self._run_of(event.job_id), datetime.now(UTC)
        if event.code == EVENT_JOB_MAX_INSTANCES:
            run.skipped += 1
            return
        if event.code == EVENT_JOB_SUBMITTED:
            run.began, run.ended = now, None
            return
        run.alive_s = self._clock.monotonic()
        run.ended, run.runs, run.error = now, run.runs + 1, ""
        if event.code == EVENT_JOB_ERROR:
            run.errors, run.error = run.errors + 1, f"{type(event.exception).__name__}: {event.exception}"

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each job, by name.

        It has name, next_at, last_at (None: not yet), took_s (None while it runs), runs, errors, skipped, error (of the last run,
        empty if it succeeded) and overdue_s: the time since the end of the last run beyond the interval and the allowed duration
        of a run. Times are ISO 8601 in UTC.
        """
        found = []
        for job in self.get_jobs():
            run = self._run_of(job.id)
            took = (run.ended - run.began).total_seconds() if run.began and run.ended else None
            due = getattr(job, "next_run_time", None)  # a job has none before the scheduler starts
            found.append({"name": _name_of(job.id, job.name), "next_at": due.isoformat() if due else None,
                          "last_at": run.began.isoformat() if run.began else None, "took_s": took, "runs": run.runs,
                          "errors": run.errors, "skipped": run.skipped, "error": run.error,
                          "overdue_s": self._overdue_s(job, run)})
        return sorted(found, key=lambda row: row["name"])

    def _overdue_s(self, job: Any, run: LastRun) -> float:
        """Return by how much a job is overdue; 0 before the scheduler has started."""
        due = getattr(job, "next_run_time", None)
        following = job.trigger.get_next_fire_time(due, due) if due else None
        if following is None:
            return 0.0
        interval_s: float = (following - due).total_seconds()
        lasts_s = self._lasts_s.get(job.id, 0.0) if run.began is not None and run.ended is None else 0.0
        return round(max(0.0, self._clock.monotonic() - run.alive_s - interval_s - lasts_s), 1)

    def add_job(self, func: Any, trigger: Any = None, *args: Any, **options: Any) -> Any:
        """Add a job; the trigger `interval`, with `seconds` and `jitter`, becomes an `Every`.

        lasts_s: a run may take this long before it is overdue.
        """
        lasts_s = options.pop("lasts_s", 0.0)
        if trigger == "interval":
            trigger = Every(options.pop("seconds"), options.pop("jitter", 0.0))
        job = super().add_job(func, trigger, *args, **options)
        self._lasts_s[job.id] = lasts_s
        return job

    def reschedule_all(self, now: datetime | None = None) -> None:
        """Move every job that is due too far ahead of the wall clock back to within its interval."""
        now = now or datetime.now(UTC)
        for job in self.get_jobs() if self.running else ():
            if isinstance(job.trigger, Every) and job.next_run_time > job.trigger.latest(now):
                job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))


def _name_of(job_id: str, name: str) -> str:
    """Return the display name of a job: its own, or that of its function."""
    if not re.fullmatch(r"[0-9a-f]{32}", job_id):
        return job_id
    owner, _, function = name.rpartition(".")
    return (owner if function == "run" else function).strip("_").replace("_", " ").lower()
