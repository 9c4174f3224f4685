"""What a collector does by the clock: figures, upkeep of memory and journal, retention, health rows, notice boards."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.app.health_rows import HealthRows
from pumpwatch.app.schedule import Scheduler
from pumpwatch.clock import ClockWatch
from pumpwatch.errors import PumpWatchError, StorageError
from pumpwatch.ops.health import problems, summary_line
from pumpwatch.ops.retention import Retention
from pumpwatch.store.scrub import Scrub

if TYPE_CHECKING:
    from pumpwatch.app.collector import Collector

log = logging.getLogger(__name__)

UPKEEP_S = 5.0
RETENTION_S = 60.0
LEDGER_UPKEEP_S, LEDGER_STEPS = 30.0, 200  # so many short transactions at a time, at most
LEDGER_CHECK_S = 600.0
HEALTH_S = 60.0
CLOCK_S = 1.0


class Jobs:
    """The scheduler of one collector, and a look at the clock each second that needs no scheduler."""

    def __init__(self, collector: Collector) -> None:
        self._of = collector
        self.scheduler = Scheduler()
        self._clock_watch = ClockWatch(collector.clock)
        self._health_rows = HealthRows(collector)
        self._symbols_refused = False
        self._checking_thread = ThreadPool(1)  # reading hundreds of MB must hold up no other job, nor a stop

    def start(self) -> None:
        """Start the clock."""
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        one = self._of
        self.every(1.0, one.figures.write)
        self.every(UPKEEP_S, self._compact)
        self.every(UPKEEP_S, self._maintain)
        self.every(UPKEEP_S, self._write_symbols)
        retention = Retention(one.journal, one.config.store, list(one.drains), one.clock, one.stats, one.in_journal_thread)
        self.every(RETENTION_S, retention.run)
        one.supervisor.spawn("scrub", Scrub(one.journal, one.in_journal_thread, one.clock, one.stats).run)
        self.every(LEDGER_UPKEEP_S, self._keep_ledger_small)
        self.every(LEDGER_CHECK_S, self._check_ledger, at_once=True)
        self.every(one.config.log.summary_s, self._summary)
        if one.sinks:
            self.every(HEALTH_S, self._health)
        self.scheduler.start()
        one.supervisor.spawn("clock", self._watch_clock)

    def every(self, seconds: float, job: Any, *, at_once: bool = False) -> None:
        """Run a job again and again."""
        self.scheduler.add_job(job, "interval", seconds=seconds, **({"next_run_time": datetime.now(UTC)} if at_once else {}))

    def stop(self) -> None:
        """Start nothing more."""
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)

    def _watch_clock(self) -> None:
        while True:
            self.look_at_clock()
            gevent.sleep(CLOCK_S)

    def look_at_clock(self) -> None:
        """Log a step of the wall clock and lay every job anew."""
        step_s = self._clock_watch.look()
        if step_s:
            self._of.stats.add("clock_steps_total")
            log.warning("the clock was stepped by_s=%+.1f: jobs are laid anew, lags and windows around now are off by as much",
                        step_s)
            self.scheduler.lay_anew()

    def _compact(self) -> None:
        self._of.memory_thread.apply(self._of.recent.compact)

    def _maintain(self) -> None:
        try:
            self._of.in_journal_thread(self._of.journal.maintain)
        except StorageError as error:  # it is tried again; commits go on meanwhile
            log.debug("journal upkeep reason=%s", error)

    def _keep_ledger_small(self) -> None:
        one = self._of
        try:
            for _ in range(LEDGER_STEPS):
                if not one.in_ledger_thread(one.journal.ledger.upkeep, one.clock.now_ns()):
                    return
        except StorageError as error:  # it is tried again; the ledger says itself that it refuses
            log.debug("ledger upkeep reason=%s", error)

    def _check_ledger(self) -> None:
        try:
            self._checking_thread.apply(self._of.journal.ledger.check)
        except StorageError as error:
            log.error("ledger check reason=%s", error.message)

    def _write_symbols(self) -> None:
        try:
            self._of.memory_thread.apply(self._of.symbols.write)
        except StorageError as error:
            if not self._symbols_refused:
                log.warning("%s; %s", error.message, error.hint)
            self._symbols_refused = True
        else:
            self._symbols_refused = False

    def _summary(self) -> None:
        status = self._of.figures.now()
        wrong = problems(status)
        if wrong:
            log.warning("health %s | wrong: %s", summary_line(status), "; ".join(wrong))
        else:
            log.info("health %s", summary_line(status))
        self._of.ingest.log_rest()

    def _health(self) -> None:
        rows = self._health_rows.collect()
        for name, sink in self._of.sinks.items():
            try:
                sink.write_health(rows)
            except PumpWatchError as error:
                self._of.stats.add("health_rows_not_written_total", sink=name)
                log.debug("health rows not written sink=%s reason=%s", name, error)
