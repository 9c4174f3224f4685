"""The first look at a board: what it shows is never announced, readable or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.first_look import PATIENCE_S
from tests.listing.board_server import row
from tests.listing.machine import KITE, OLD, ORDER, Machine

S = NS_PER_S
HOUR_NS = 3600 * S


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


def test_what_the_first_look_shows_is_remembered_and_not_announced(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.publish(2, KITE)
    assert machine.poll(3) == []
    machine.publish(3, ORDER)
    assert machine.poll(2) == ["ORDER"]
    assert machine.ledger.notice_count("upbit") == 3


def test_a_first_look_at_an_empty_board_is_a_first_look_too(machine: Machine) -> None:
    assert machine.poll() == []
    machine.publish(1, KITE)
    assert machine.poll() == ["KITE"]


def test_a_row_ahead_of_a_clock_that_is_wrong_is_taken_when_the_clock_is_right_again(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.poll()
    machine.board.rows.insert(0, row(2, KITE, machine.clock.now_ns() + 2 * 86400 * S))
    assert machine.poll(2) == []
    machine.clock.advance(2 * 86400)
    assert machine.poll() == ["KITE"]


def test_a_clock_hours_slow_at_the_first_look_announces_nothing_old_once_it_is_right(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.publish(1, OLD, age_s=86_400)
    machine.board.rows.insert(0, row(2, KITE, machine.clock.now_ns() + 5 * HOUR_NS))
    assert machine.poll(3) == []
    assert (machine.ledger.notice_count("upbit"), machine.quarantined, machine.watch.up) == (0, [], True)
    machine.clock.step(6 * 3600)
    assert machine.poll(2) == []
    assert machine.ledger.notice_count("upbit") == 2
    machine.publish(3, ORDER)
    assert machine.poll(2) == ["ORDER"]
    assert sum("first look postponed source=upbit rows=1" in record.message for record in caplog.records) == 1


def test_a_row_that_stays_ahead_postpones_the_first_look_for_minutes_only_and_is_known_by_its_id(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.board.rows.insert(0, row(2, KITE, machine.clock.now_ns() + 48 * HOUR_NS))
    machine.poll(int(PATIENCE_S / 5) + 2)
    machine.publish(3, ORDER)
    assert machine.poll(2) == ["ORDER"]
    assert len(machine.quarantined) == 1
    machine.restart()
    machine.clock.step(48 * 3600)
    assert machine.poll(2) == []


def unreadable(*titles: str) -> Any:
    """Return a source that cannot read the rows of these titles."""
    def parse(body: bytes) -> list[object]:
        return [5 if getattr(given, "title", "") in titles else given for given in UPBIT.parse(body)]

    return replace(UPBIT, parse=parse)


def test_a_row_that_the_first_look_could_not_read_is_not_announced_when_it_can(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.publish(2, KITE, age_s=60)
    machine.start(unreadable(KITE))
    assert machine.poll(2) == []
    machine.restart()  # with a plugin that reads it
    assert machine.poll(2) == []
    machine.publish(3, ORDER)
    assert machine.poll(2) == ["ORDER"]


def test_a_row_that_a_later_look_could_not_read_is_announced_when_it_can(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.start(unreadable(KITE))
    machine.poll()
    machine.publish(2, KITE)
    assert machine.poll(2) == []
    machine.restart()
    assert machine.poll(2) == ["KITE"]
