"""The time and the bytes that the other side may take before it has answered."""

from __future__ import annotations

import gevent
import pytest

from pumpwatch.net.allowance import Overdue, ReadAllowance, TooMuch


def test_the_bytes_of_a_step_are_counted_anew_for_each_step():
    allowance = ReadAllowance(5.0)
    allowance.begin("its TLS handshake", 10)
    allowance.spend(10)
    allowance.begin("its answer", 10)
    allowance.spend(4)
    with pytest.raises(TooMuch, match="its answer is larger than 10 bytes"):
        allowance.spend(7)


def test_when_the_time_of_all_steps_is_up_the_current_one_is_named():
    allowance = ReadAllowance(0.01)
    allowance.begin("looking up its name")
    gevent.sleep(0.02)
    with pytest.raises(Overdue, match=r"looking up its name takes longer than 0\.01 s"):
        allowance.left_s()
    with pytest.raises(Overdue):
        allowance.spend(0)


def test_a_wait_is_shorter_than_the_whole_and_named_so():
    allowance = ReadAllowance(60.0, 0.5)
    allowance.begin("its answer", 10)
    assert allowance.left_s() == 0.5
    assert str(allowance.overdue()) == "its answer: nothing came for 0.5 s"


def test_others_run_after_every_read_although_nothing_waits():
    allowance, ran = ReadAllowance(5.0), []
    gevent.spawn(ran.append, 1)
    allowance.begin("its answer", 100)
    allowance.spend(1)
    assert ran == [1]
