"""The alerts of a collector: a job judges the metrics, keeps active alerts in the data folder, and notifies the channels."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import Any

import gevent

from pumpwatch.app.jobs import CollectorJobs
from pumpwatch.app.parts import CollectorParts
from pumpwatch.app.status import Status
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.notify.alert_events import AlertEvent, alert_event
from pumpwatch.notify.notifier import MakeEvent
from pumpwatch.ops.alert_book import AlertBook, Change, LastValue, Standing
from pumpwatch.ops.alert_file import Alerts, read_alerts, write_alerts
from pumpwatch.ops.alert_rules import thresholds
from pumpwatch.ops.metrics import Metrics

log = logging.getLogger(__name__)

ENDED_KEPT = 200  # so that a kill just after the end of an alert does not cost its message
SAVE_S = 5.0  # a message waits at most this long for the disk, because the alert may be about the disk


class Alerting:
    """The alerts of one collector. An alert is stored before its message is sent, so a start sends what a kill prevented."""

    def __init__(self, collector: CollectorParts, status: Status) -> None:
        self._collector, self._status = collector, status
        self._metrics = Metrics()
        self._book = self._book_of(Alerts())
        self._saved_values: list[LastValue] = []
        self._ended: deque[Standing] = deque(maxlen=ENDED_KEPT)
        self._refused = False

    def _book_of(self, known: Alerts) -> AlertBook:
        options = self._collector.config.alerts
        return AlertBook(thresholds(options), known.standing, options.keep_s, known.values)

    def load(self) -> None:
        """Load the alerts that were active when an earlier run ended."""
        try:
            known = self._collector.memory_thread.apply(read_alerts, (self._collector.folder,))
        except StorageError as error:
            log.warning("alerts of an earlier run not known reason=%s", error)
            return
        self._book = self._book_of(known)
        self._saved_values = known.values
        self._ended.extend(known.ended)

    def start(self, jobs: CollectorJobs) -> None:
        """Schedule `look`, unless the config turns alerts off."""
        if self._collector.config.alerts.enabled:
            jobs.every(self._collector.config.alerts.interval_s, self.look, name="alerts")

    def rows(self) -> list[dict[str, Any]]:
        """Return the active alerts, see `AlertBook.rows`."""
        return self._book.rows()

    def events(self, since_ns: int) -> list[MakeEvent]:
        """Return the events of the alerts that began or ended since a time (ns UTC), sent or not."""
        known = [*self._ended, *self._book.standing()]
        began = [partial(_event, alert, 0) for alert in known if alert.began_at_ns >= since_ns]
        return [*began, *(partial(_event, alert, alert.ended_at_ns) for alert in self._ended if alert.ended_at_ns >= since_ns)]

    def look(self) -> None:
        """Judge every condition now; log, store and send the alerts that have begun or ended."""
        clock = self._collector.clock
        changes = self._book.look(self._metrics.read(self._status.now()), clock.monotonic(), clock.now_ns())
        if not changes and self._book.last_values() == self._saved_values:
            return
        for change in changes:
            _log(change)
            if change.what == "ended":
                self._ended.append(change.alert)
        self._save()
        for change in changes:
            self._collector.notifying.notifier.notify(partial(_event, change.alert, change.alert.ended_at_ns))

    def _save(self) -> None:
        values = self._book.last_values()
        kept = self._collector.folder, self._book.standing(), list(self._ended), values
        problem = ""
        try:
            with gevent.Timeout(SAVE_S):
                self._collector.memory_thread.apply(write_alerts, kept)
        except StorageError as error:
            problem = error.message
        except gevent.Timeout:
            problem = f"no answer in {SAVE_S:.0f} s"
        if not problem:
            self._saved_values = values
        if problem and not self._refused:
            log.warning("alerts not stored, a restart may send them again reason=%s", problem)
        self._refused = bool(problem)


def _event(alert: Standing, ended_at_ns: int) -> AlertEvent:
    return alert_event(alert.name, alert.subject, severity=alert.severity, summary=alert.summary, description=alert.description,
                       value=alert.value, threshold=alert.threshold, began_at_ns=alert.began_at_ns, ended_at_ns=ended_at_ns,
                       runbook=alert.runbook)


def _log(change: Change) -> None:
    alert = change.alert
    if change.what == "began":
        log.warning("alert begins name=%s subject=%s severity=%s description='%s' runbook=%s", alert.name, alert.subject or "-",
                    alert.severity, alert.description, alert.runbook)
    else:
        log.info("alert ends name=%s subject=%s after_s=%.0f", alert.name, alert.subject or "-",
                 (alert.ended_at_ns - alert.began_at_ns) / NS_PER_S)
