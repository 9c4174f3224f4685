"""Run the roll-out of a sink in a collector: requests, phases, comparisons, judgements, alerts, and its stored state."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gevent

from pumpwatch.app.parts import CollectorParts
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.notify.alert_events import AlertEvent, alert_event
from pumpwatch.printable import printable
from pumpwatch.rollout.answers import RecentQueries
from pumpwatch.rollout.comparison import Comparison, ComparisonResult
from pumpwatch.rollout.machine import EndedPhase, RolloutMachine
from pumpwatch.rollout.report import figures, write_report
from pumpwatch.rollout.request import take_requests
from pumpwatch.rollout.state import RolloutState, read_state, set_aside, write_state
from pumpwatch.rollout.stored_here import StoredHere
from pumpwatch.store.share import WHOLE, Share

log = logging.getLogger(__name__)

TICK_S = 1.0
SAVE_S = 2.0
EDGE_NS = 10 * NS_PER_S  # just after a slice was taken over, trades may have reached only another member
ANSWERED = 20  # requests whose answers are kept
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RUNBOOK = "docs/rollout.md#when-a-sink-was-rolled-back"


class SinkRollout:
    """The roll-out of a collector. If the config does not have one, every sink gets everything."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector, self._options = collector, collector.config.rollout
        self._machine: RolloutMachine | None = None  # made by `load`
        self._comparison: Comparison | None = None
        self._recent_queries = RecentQueries(self._options.judged_s)
        self._last_id = 0
        self._ticked_s = 0.0
        self._refused = self._stopped = False

    @property
    def configured(self) -> bool:
        """Return whether the config rolls out a sink."""
        return bool(self._options.sink)

    @property
    def machine(self) -> RolloutMachine:
        """The state machine, once it is loaded."""
        assert self._machine is not None
        return self._machine

    def load(self) -> None:
        """Load the state of the last run. A damaged state is set aside, and the sink gets nothing until a new start."""
        if not self.configured:
            return
        state = None
        try:
            state = self._collector.memory_thread.apply(read_state, (self._collector.folder,))
        except StorageError as error:
            log.error("state of the roll-out is damaged, the sink gets nothing until `pumpwatch rollout start` sink=%s reason=%s",
                      self._options.sink, error.message)
            self._collector.memory_thread.apply(set_aside, (self._collector.folder,))
            state = RolloutState(sink=self._options.sink, reason="the state file was damaged")
        if state is not None and state.sink != self._options.sink:
            log.warning("another sink is rolled out now, its roll-out begins with nothing sink=%s before=%s", self._options.sink,
                        printable(state.sink))
            state = None
        self._machine = RolloutMachine(self._options, state or RolloutState(sink=self._options.sink))
        self._ticked_s = self._collector.clock.monotonic()
        now = self._machine.state
        log.info("roll-out sink=%s status='%s' percent=%d", now.sink, now.status, now.percent)
        self._save()

    def share_of(self, sink: str) -> int:
        """Return the percent of the instruments that a sink gets."""
        return self.machine.state.percent if self.configured and sink == self._options.sink else WHOLE

    def durable(self, batch_id: int) -> None:
        """Record the last durable batch."""
        self._last_id = batch_id

    def start(self, every: Callable[[float, Callable[[], None]], None]) -> None:
        """Schedule the jobs of the roll-out; `every(seconds, job)` runs a job periodically."""
        if not self.configured:
            return
        collector, drain = self._collector, self._collector.drains[self._options.sink]
        stored = StoredHere(collector.recent, collector.journal.side_reader, collector.catalogue, collector.clock,
                            lambda: self._last_id, lambda: drain.cursor, lambda: drain.state == "down")
        own_sink = collector.plugins.make_sinks(collector.config)[self._options.sink]
        self._comparison = Comparison(own_sink, stored, collector.catalogue, collector.clock, self._options.window_s,
                                      self._options.instruments, read_here=self._read_here)
        every(TICK_S, self.tick)
        every(self._options.compare_s, self.compare)
        every(self._options.look_s, self.look)

    def _read_here(self, instrument: int, start_ns: int, end_ns: int) -> bool:
        """Return whether every trade of an instrument came here: other members of a cluster write to the sink as well."""
        if not (cluster := self._collector.cluster):
            return True
        exchange, market_type, symbol = self._collector.catalogue.names([instrument])[0]
        return any(from_ns <= start_ns - EDGE_NS and end_ns <= to_ns
                   for from_ns, to_ns in cluster.slice_spans(f"{exchange}.{market_type}", symbol))

    def stop(self) -> None:
        """Store the state. Jobs that still run change nothing more."""
        if self.configured and self._machine is not None:
            self._stopped = True
            self._save()

    def tick(self) -> None:
        """Apply the requests of `pumpwatch rollout`, and advance the time of the phase."""
        requests = take_requests(self._collector.folder)
        for number, request in requests:
            refusal = ""
            try:
                self.act(request.action, request.reason)
            except UsageError as error:
                refusal = str(error)
                log.info("roll-out request refused action=%s reason='%s'", printable(request.action), error.message)
            answered = {**self.machine.state.answered, number: refusal}
            self.machine.state.answered = dict(list(answered.items())[-ANSWERED:])
        now_s = self._collector.clock.monotonic()
        seconds, self._ticked_s = now_s - self._ticked_s, now_s
        self._change(lambda: self.machine.pass_time(seconds, self._collector.clock.now_ns()))
        if requests:
            self._save()

    def act(self, action: str, reason: str = "") -> None:
        """Do what a person asks for: start, pause, advance or back. Raises UsageError where the state does not allow it."""
        if not self.configured:
            raise UsageError("the config does not roll out a sink", "set rollout.sink to one of `sinks`")
        text = f"asked for: {printable(reason, 200)}" if reason else "asked for"
        self._change(lambda: self.machine.act(action, self._collector.clock.now_ns(), text))

    def compare(self) -> None:
        """Compare a window of the sink with memory and journal, and count the differences."""
        machine, clock = self.machine, self._collector.clock
        if not machine.watched or self._comparison is None:
            return
        state = machine.state
        share, began_ns = state.percent, max(state.started_at_ns, self._kept_from_ns())
        try:
            found = self._comparison.run(Share(self._collector.catalogue, share).ids(), began_ns)
        except StorageError as error:
            log.debug("sink not compared reason=%s", error.message)
            return
        if found is None or self._stopped or share != machine.state.percent:
            return  # another share has begun meanwhile
        answers = machine.state.answers
        for ms in found.ms:
            answers.add(ms)
            self._recent_queries.add(clock.monotonic(), ms)
        answers.late += found.late
        self._count(found)

    def _kept_from_ns(self) -> int:
        """Return since when the journal certainly has everything, ns since 1970."""
        hours = self._collector.config.store.retention_hours / 2
        return self._collector.clock.now_ns() - int(hours * 3600 * 10**9)

    def _count(self, found: ComparisonResult) -> None:
        answers, stats, sink = self.machine.state.answers, self._collector.stats, self._options.sink
        stats.add("rollout_queries_total", len(found.ms), sink=sink)
        stats.add("rollout_failed_queries_total", found.ms.count(None), sink=sink)
        answers.trades += found.trades
        if found.problem:
            log.debug("sink did not answer a comparison sink=%s reason=%r", sink, found.problem)
        if found.differences is None or not found.differences.total:
            return
        answers.last_difference, answers.last_difference_ns = found.differences.text(), self._collector.clock.now_ns()
        for kind, number in found.differences.counts.items():
            answers.differences[kind] = answers.differences.get(kind, 0) + number
            stats.add("rollout_differences_total", number, sink=sink, kind=kind)
        log.warning("sink differs from memory and journal sink=%s trades=%d %s", sink, found.trades,
                    found.differences.text())

    def look(self) -> None:
        """Judge the limits, and store the state."""
        if not self.machine.watched:
            return
        rss_bytes, disk_percent = self._collector.memory_thread.apply(_machine_figures, (self._collector.folder,))
        self.machine.state.answers.add_memory(rss_bytes)
        judged = self._recent_queries.judged(self._collector.clock.monotonic())
        self._change(lambda: self.machine.judge(judged, disk_percent, self._collector.clock.now_ns()))
        self._save()

    def _change(self, step: Callable[[], EndedPhase | None]) -> None:
        """Do a step of the machine. If it changes something, apply it to the sink, store it, report it and send alerts."""
        state = self.machine.state
        before = state.status, state.percent, state.alert_ns
        if self._stopped:
            return
        ended = step()
        if (state.status, state.percent, state.alert_ns) == before:
            return
        level = logging.WARNING if state.alert_ns else logging.INFO
        log.log(level, "roll-out sink=%s status='%s' percent=%d before=%d reason='%s'", state.sink, state.status, state.percent,
                before[1], state.reason)
        if state.percent != before[1]:
            self._recent_queries.clear()
            self._collector.drains[state.sink].set_share(state.percent)
        self._send_alerts(before[1], before[2])
        self._save()
        if ended is not None:
            self._report(ended)

    def _send_alerts(self, percent_before: int, alert_before_ns: int) -> None:
        """Send the end of the alert before, and the beginning of a new one, to the channels."""
        state, notify = self.machine.state, self._collector.notifying.notifier.notify
        if alert_before_ns and state.alert_ns != alert_before_ns:
            notify(partial(_alert, state.sink, percent_before, f"The roll-out is {state.status} now.", alert_before_ns,
                           self._collector.clock.now_ns()))
        if state.alert_ns and state.alert_ns != alert_before_ns:
            what = (f"{state.sink} was taken back from {percent_before} to {state.percent} % of the instruments"
                    if state.status == "rolled back" else f"the roll-out of {state.sink} is paused at {state.percent} %")
            notify(partial(_alert, state.sink, state.percent, state.reason, state.alert_ns, 0, what))

    def _report(self, ended: EndedPhase) -> None:
        try:
            path = self._collector.memory_thread.apply(write_report, (self._collector.folder, self._options.sink, ended,
                                                                      self._collector.clock.now_ns()))
        except StorageError as error:
            log.error("report of a phase not written reason=%s", error.message)
        else:
            log.info("report of the phase written percent=%d file=%s", ended.percent, path)

    def _save(self) -> None:
        problem = ""
        try:
            with gevent.Timeout(SAVE_S):
                self._collector.memory_thread.apply(write_state, (self._collector.folder, self.machine.state))
        except StorageError as error:
            problem = error.message
        except gevent.Timeout:
            problem = f"no answer in {SAVE_S:.0f} s"
        if problem and not self._refused:
            log.warning("state of the roll-out not stored, trying again reason=%s", problem)
        self._refused = bool(problem)

    def status(self) -> dict[str, Any]:
        """Return the state as plain data for `status.json`; empty without a roll-out."""
        if self._machine is None:
            return {}
        state = self.machine.state
        return {"sink": state.sink, "status": state.status, "percent": state.percent, "ran_s": round(state.ran_s, 1),
                "reason": state.reason, **figures(state.answers)}


def _machine_figures(folder: Path) -> tuple[int, float]:
    """Return the resident bytes of this process, and the used percent of the disk. May block."""
    rss_bytes = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE_BYTES
    disk = os.statvfs(folder)
    size = disk.f_blocks - disk.f_bfree + disk.f_bavail
    return rss_bytes, 100.0 * (size - disk.f_bavail) / size if size else 100.0


def _alert(sink: str, percent: int, reason: str, began_at_ns: int, ended_at_ns: int, summary: str = "") -> AlertEvent:
    return alert_event("SinkTakenBack", sink, severity="warning", summary=summary or f"the roll-out of {sink} goes on",
                       description=reason[:1].upper() + reason[1:], value=float(percent), threshold=float(WHOLE),
                       began_at_ns=began_at_ns, ended_at_ns=ended_at_ns, runbook=RUNBOOK)
