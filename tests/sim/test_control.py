"""Commands change a running simulation; an invalid one is rejected with the known ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.sim.control import COMMANDS, plan, read_commands, run_command
from pumpwatch.sim.options import FaultOptions, ListingOptions, SimOptions
from pumpwatch.sim.simulation import Simulation
from tests.sim.fakes import BOARD, DIALECT, connect


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    made = Simulation(SimOptions(folder=str(tmp_path), symbols=2), [DIALECT, BOARD])
    yield made
    made.close()


def test_status_has_every_figure(simulation: Simulation) -> None:
    connect(simulation.venues["fake.spot"], "BTC")
    status = run_command(simulation, "/sim/status", {})
    assert status["venues"]["fake.spot"]["connections"] == [{"connection": 1, "streams": 1, "sent": 0, "queued_bytes": 0}]
    assert status["records"] == dict.fromkeys(
        ("sent", "doubled", "past", "no_subscriber", "unsent", "withheld", "spoilt"), 0)
    assert status["boards"]["board"]["notices"] == [{"number": 5, "title": "old"}] and status["queued_bytes"] == 0


def test_trading_is_paused_resumed_and_stopped(simulation: Simulation) -> None:
    assert run_command(simulation, "/sim/resume", {"rate": 5}) == {"running": True} and simulation.sources[0].rate == 5
    assert run_command(simulation, "pause", {})["running"] is False
    assert run_command(simulation, "stop", {}) == {"stopping": True} and simulation.stopping.is_set()


def test_a_listing_is_published_and_its_coin_jumps(simulation: Simulation) -> None:
    published = run_command(simulation, "publish", {"coin": "BTC", "markets": ["KRW"]})
    assert (published["title"], published["pumped"]) == ("BTC on KRW", {"fake.spot": ["BTC"]})
    edited = run_command(simulation, "edit", {"number": published["number"], "suffix": " now"})
    assert edited["title"] == "BTC on KRW now"


def test_a_boards_fault_has_a_new_name_and_an_old_one(simulation: Simulation) -> None:
    board = simulation.boards["board"]
    assert run_command(simulation, "board_fault", {"fault": "429"}) == {"fault": "429"} and board.fault == "429"
    assert run_command(simulation, "mood", {"mood": "fine"}) == {"mood": "fine"} and board.fault == "none"
    assert run_command(simulation, "mood", {"mood": "500", "board": "board"}) == {"mood": "500"} and board.fault == "500"
    assert "mood" not in COMMANDS


def test_a_fault_hits_the_chosen_connections(simulation: Simulation) -> None:
    connection, _ = connect(simulation.venues["fake.spot"])
    assert run_command(simulation, "fault", {"kind": "cut"}) == {"fault": "cut", "connections": [1]} and connection.ended


def test_faults_of_the_rest_side_are_set_as_ordered(simulation: Simulation) -> None:
    faults = simulation.venues["fake.spot"].faults
    run_command(simulation, "fault", {"kind": "history", "form": "hole", "seconds": 0, "count": 2, "symbol": "BTC"})
    assert faults.history is not None
    assert (faults.history.form, faults.history.count, faults.history.until, faults.history.symbol) == ("hole", 2, 0.0, "BTC")
    run_command(simulation, "fault", {"kind": "ban", "seconds": 7})
    assert faults.ban_s == 7 and faults.ban_until > 0
    run_command(simulation, "fault", {"kind": "rest", "form": "page", "path": "/trades"})
    assert (faults.rest_form, faults.rest_path) == ("page", "/trades")


@pytest.mark.parametrize(("name", "body", "says"), [
    ("dance", {}, "no command `dance`"), ("status", [], "must be a JSON object"), ("fault", {"kind": "melt"}, "no fault `melt`"),
    ("fault", {"kind": "history"}, "no distorted history ``"),
    ("fault", {"kind": "history", "form": "x"}, "no distorted history `x`"),
    ("fault", {"kind": "rest", "form": "x"}, "no malformed answer `x`"),
    ("fault", {"kind": "cut", "wher": "x"}, "unknown key `wher`"), ("board_fault", {"fault": "sad"}, "no fault `sad` of a board"),
    ("board_fault", {"board": "nope", "fault": "429"}, "no notice board `nope`"), ("edit", {"number": 1}, "has no notice 1"),
    ("mood", {"mood": "sad"}, "no fault `sad`")])
def test_an_invalid_command_is_rejected(simulation: Simulation, name: str, body: Any, says: str) -> None:
    with pytest.raises(PumpWatchError, match=says):
        run_command(simulation, name, body)


def test_without_a_board_nothing_can_be_published(tmp_path: Path) -> None:
    made = Simulation(SimOptions(folder=str(tmp_path), symbols=1), [DIALECT])
    with pytest.raises(UsageError, match="no simulator plugin offers a notice board"):
        run_command(made, "publish", {"coin": "BTC"})
    made.close()


def test_planned_events_are_in_order_of_time(tmp_path: Path) -> None:
    options = SimOptions(folder=str(tmp_path), symbols=1, listings=[ListingOptions(at_s=2, coin="BTC")],
                         faults=[FaultOptions(kind="cut", at_s=3), FaultOptions(kind="fin", at_s=1)])
    made = Simulation(options, [DIALECT, BOARD])
    assert [at for at, _ in plan(made)] == [1, 2, 3]
    made.close()


def test_a_line_that_is_not_a_command_is_answered_and_the_next_one_is_run(simulation: Simulation,
                                                                          capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'[1]\n{"do":"edit","number":[]}\n{"do":"status"}\n')
    os.close(writing)
    with os.fdopen(reading) as stdin:
        read_commands(simulation, stdin)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in answer for answer in answers] == [True, True, False]
