"""The phases of a roll-out: by request, by time, by the limits."""

from __future__ import annotations

import pytest

from pumpwatch.config_rollout import PhaseConfig, RolloutConfig
from pumpwatch.errors import UsageError
from pumpwatch.rollout.answers import QuerySummary
from pumpwatch.rollout.machine import RolloutMachine
from pumpwatch.rollout.state import RolloutState

GOOD = QuerySummary(100, 0.0, 20.0)


def machine(*, fallback: bool = True) -> RolloutMachine:
    phases = [PhaseConfig(percent=percent, duration_h=1.0, fallback=fallback) for percent in (10, 50, 100)]
    return RolloutMachine(RolloutConfig(sink="questdb", phases=phases), RolloutState(sink="questdb"))


def shown(one: RolloutMachine) -> tuple[str, int]:
    return one.state.status, one.state.percent


def test_the_phases_follow_each_other_by_time_and_the_last_one_ends_it() -> None:
    one = machine()
    assert one.pass_time(9999.0, 1) is None and shown(one) == ("waiting", 0)
    assert one.act("start", 2) is None
    seen = [shown(one)]
    for hour in range(3):
        assert one.pass_time(3599.0, 3) is None
        one.state.answers.add(3.0)
        ended = one.pass_time(1.0, 4 + hour)
        assert ended is not None and ended.percent == seen[-1][1] and ended.ran_s == 3600.0
        seen.append(shown(one))
    assert seen == [("running", 10), ("running", 50), ("running", 100), ("done", 100)]
    assert not one.watched and one.state.started_at_ns == 2
    with pytest.raises(UsageError, match="already done"):
        one.act("start", 9)
    assert one.act("back", 10) is not None and shown(one) == ("rolled back", 50)


def test_a_pause_stops_the_time_of_a_phase_and_keeps_its_figures() -> None:
    one = machine()
    one.act("start", 1)
    one.state.answers.add(3.0)
    one.pass_time(3000.0, 2)
    one.act("pause", 3)
    assert one.pass_time(3000.0, 4) is None and shown(one) == ("paused", 10) and one.watched
    one.act("start", 5)
    assert one.state.answers.queries == 1 and one.state.ran_s == 3000.0
    with pytest.raises(UsageError, match="already running"):
        one.act("start", 6)


def test_a_person_may_go_on_and_back() -> None:
    one = machine()
    with pytest.raises(UsageError, match="gets no trades"):
        one.act("back", 1)
    with pytest.raises(UsageError, match="not running"):
        one.act("pause", 1)
    with pytest.raises(UsageError, match="unknown request 'jump'"):
        one.act("jump", 1)
    one.act("advance", 1)
    assert shown(one) == ("running", 10)
    one.act("advance", 2)
    assert shown(one) == ("running", 50)
    ended = one.act("back", 3, "it looked odd")
    assert ended is not None and ended.percent == 50 and "it looked odd" in ended.outcome
    assert shown(one) == ("rolled back", 10)
    one.act("back", 4)
    assert shown(one) == ("rolled back", 0) and not one.watched
    one.act("start", 5)
    assert shown(one) == ("running", 10)
    assert [(change.status, change.percent) for change in one.state.changes] == [
        ("running", 10), ("running", 50), ("rolled back", 10), ("rolled back", 0), ("running", 10)]


@pytest.mark.parametrize(("judged", "disk", "said"), [
    (QuerySummary(100, 5.1, 20.0), 50.0, "5.1 % of 100 queries failed, the limit is 5 %"),
    (QuerySummary(100, 0.0, 501.0), 50.0, "a mean answer took 501 ms"),
    (QuerySummary(0, 0.0, 0.0), 95.1, "the disk is 95.1 % full"),
])
def test_beyond_a_limit_the_sink_is_taken_back_step_by_step(judged: QuerySummary, disk: float, said: str) -> None:
    one = machine()
    one.act("start", 1)
    one.act("advance", 2)
    assert one.judge(GOOD, 95.0, 3) is None and one.judge(QuerySummary(4, 100.0, 9000.0), 50.0, 3) is None  # too few queries
    ended = one.judge(judged, disk, 4)
    assert ended is not None and said in ended.outcome and said in one.state.reason
    assert shown(one) == ("rolled back", 10) and one.state.alert_ns == 4
    one.judge(judged, disk, 5)
    assert shown(one) == ("rolled back", 0)
    assert one.judge(judged, disk, 6) is None
    one.act("start", 7)
    assert one.state.alert_ns == 0


def test_without_fallback_the_phase_is_paused_and_the_sink_keeps_its_share() -> None:
    one = machine(fallback=False)
    one.act("start", 1)
    assert one.judge(QuerySummary(100, 50.0, 20.0), 50.0, 2) is None
    assert shown(one) == ("paused", 10) and one.state.alert_ns == 2
    one.judge(QuerySummary(100, 50.0, 20.0), 50.0, 3)
    assert one.state.alert_ns == 2  # it is told once


def test_a_phase_with_differences_does_not_grow_by_itself() -> None:
    one = machine()
    one.act("start", 1)
    one.state.answers.differences["doubled"] += 2
    ended = one.pass_time(3600.0, 5)
    assert ended is not None and shown(one) == ("paused", 10) and one.state.alert_ns == 5
    assert "2 differences in the phase of 10 %" in one.state.reason
    one.act("advance", 6)
    assert shown(one) == ("running", 50) and one.state.alert_ns == 0


def test_a_share_that_the_config_no_longer_has_waits_for_a_person() -> None:
    one = machine()
    one.act("start", 1)
    one.state.percent = 30
    assert one.pass_time(10**6, 2) is None and one.phase is None
    one.act("advance", 3)
    assert shown(one) == ("running", 50)


def test_a_phase_in_which_nothing_could_be_compared_does_not_grow_by_itself() -> None:
    one = machine()
    one.act("start", 1)
    one.state.answers.add(3.0)
    one.state.answers.late += 1  # the sink took nothing: it had not got what was asked for
    one.state.answers.add(None)
    ended = one.pass_time(3600.0, 5)
    assert ended is not None and shown(one) == ("paused", 10) and one.state.alert_ns == 5
    assert ended.outcome == "paused: nothing could be compared in the phase of 10 %"
    one.act("advance", 6)
    assert shown(one) == ("running", 50)
