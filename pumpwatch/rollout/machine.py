"""Change the state of a roll-out on requests, as time passes, and when a limit is exceeded. Touches only the state."""

from __future__ import annotations

from dataclasses import dataclass

from pumpwatch.config_rollout import PhaseConfig, RolloutConfig
from pumpwatch.errors import UsageError
from pumpwatch.printable import printable
from pumpwatch.rollout.answers import PhaseAnswers, QuerySummary
from pumpwatch.rollout.state import CHANGES_KEPT, RolloutChange, RolloutState, Status

ACTIONS = ("start", "pause", "advance", "back")


@dataclass(frozen=True, slots=True)
class EndedPhase:
    """A phase that has ended: its share, its beginning (ns UTC), its running time without pauses, and its figures."""

    percent: int
    began_at_ns: int
    ran_s: float
    answers: PhaseAnswers
    outcome: str


class RolloutMachine:
    """The state machine of one roll-out. Each action returns the phase that it has ended, or None."""

    def __init__(self, options: RolloutConfig, state: RolloutState) -> None:
        self._options, self.state = options, state

    @property
    def phase(self) -> PhaseConfig | None:
        """Return the phase with the sink's share, None if the config has no such phase."""
        return next((phase for phase in self._options.phases if phase.percent == self.state.percent), None)

    @property
    def watched(self) -> bool:
        """Return whether the sink is compared and its limits are judged."""
        return self.state.percent > 0 and self.state.status != "done"

    def act(self, action: str, now_ns: int, reason: str = "asked for") -> EndedPhase | None:
        """Do one of ACTIONS, as a person requests. Raises UsageError if the state does not allow it."""
        state = self.state
        if action == "start":
            if state.status in ("running", "done"):
                raise UsageError(f"the roll-out is already {state.status}", "`pumpwatch rollout` shows its state")
            return self._go(state.percent or self._options.phases[0].percent, "running", now_ns, reason, resumes=True)
        if action == "pause":
            if state.status != "running":
                raise UsageError(f"the roll-out is {state.status}, not running", "`pumpwatch rollout start` starts it")
            return self._go(state.percent, "paused", now_ns, reason, resumes=True)
        if action == "advance":
            if state.status == "done":
                raise UsageError("the roll-out is done: the sink has every instrument")
            return self._next(now_ns, reason)
        if action == "back":
            if not state.percent:
                raise UsageError("the sink gets no trades, so it cannot be rolled back")
            return self.back(now_ns, reason)
        raise UsageError(f"unknown request {printable(action)!r}", f"known: {', '.join(ACTIONS)}")

    def pass_time(self, seconds: float, now_ns: int) -> EndedPhase | None:
        """Let a running phase run for some seconds; begin the next phase at its end.

        Pause instead if differences were found, or if nothing could be compared because the sink never answered in time.
        """
        state, phase = self.state, self.phase
        if state.status != "running" or phase is None:
            return None
        state.ran_s += seconds
        if state.ran_s < phase.duration_h * 3600:
            return None
        reason = self._doubt()
        if reason:
            ended = EndedPhase(state.percent, state.phase_at_ns, state.ran_s, state.answers, f"paused: {reason}")
            self._go(state.percent, "paused", now_ns, reason + ": look at its report, then `pumpwatch rollout advance` or `back`",
                     resumes=True)
            state.alert_ns = now_ns
            return ended
        return self._next(now_ns, f"the phase of {state.percent} % ended after {phase.duration_h:g} h")

    def _doubt(self) -> str:
        """Return why the next phase must not begin after this one; empty if it may."""
        answers, percent = self.state.answers, self.state.percent
        if answers.different:
            return f"{answers.different:,} differences in the phase of {percent} %"
        if not answers.compared:
            return f"nothing could be compared in the phase of {percent} %"
        return ""

    def judge(self, judged: QuerySummary, disk_percent: float, now_ns: int) -> EndedPhase | None:
        """Roll the sink back, or pause the phase, if a limit is exceeded."""
        if not self.watched:
            return None
        options, problem = self._options, ""
        if disk_percent > options.max_disk_percent:
            problem = f"the disk is {disk_percent:.1f} % full, the limit is {options.max_disk_percent:g} %"
        elif judged.queries >= options.least_queries:
            if judged.error_percent > options.max_error_percent:
                problem = (f"{judged.error_percent:.1f} % of {judged.queries} queries failed, the limit is"
                           f" {options.max_error_percent:g} %")
            elif judged.mean_ms > options.max_answer_ms:
                problem = f"a mean answer took {judged.mean_ms:,.0f} ms, the limit is {options.max_answer_ms:g} ms"
        if not problem:
            return None
        phase = self.phase
        if phase is not None and not phase.fallback:
            if self.state.status == "running":
                self._go(self.state.percent, "paused", now_ns, problem, resumes=True)
                self.state.alert_ns = now_ns
            return None
        ended = self.back(now_ns, problem)
        self.state.alert_ns = now_ns
        return ended

    def back(self, now_ns: int, reason: str) -> EndedPhase | None:
        """Roll the sink back to the previous share, or to 0 % from the first."""
        smaller = [phase.percent for phase in self._options.phases if phase.percent < self.state.percent]
        return self._go(max(smaller, default=0), "rolled back", now_ns, reason)

    def _next(self, now_ns: int, reason: str) -> EndedPhase | None:
        larger = [phase.percent for phase in self._options.phases if phase.percent > self.state.percent]
        return self._go(min(larger, default=100), "running" if larger else "done", now_ns, reason)

    def _go(self, percent: int, status: Status, now_ns: int, reason: str, resumes: bool = False) -> EndedPhase | None:
        """Change the state; the phase ends unless it `resumes` with the same share."""
        state, ended = self.state, None
        if percent != state.percent or not resumes:
            if state.percent and state.phase_at_ns:
                ended = EndedPhase(state.percent, state.phase_at_ns, state.ran_s, state.answers, f"{status}: {reason}")
            state.ran_s, state.phase_at_ns, state.answers = 0.0, now_ns, PhaseAnswers()
        state.started_at_ns = state.started_at_ns or now_ns
        state.percent, state.status, state.reason, state.alert_ns = percent, status, reason, 0
        change = RolloutChange(at_ns=now_ns, status=status, percent=percent, reason=reason)
        state.changes = [*state.changes, change][-CHANGES_KEPT:]
        return ended
