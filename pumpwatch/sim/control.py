"""Commands to a running simulation, by HTTP or stdin, and its status. The body of a command is a JSON object.

command      effect
status       return every figure
pause        stop trading
resume       trade again, with `rate` trades a second in all if given
stop         end the simulation
publish      publish a listing (the fields of ListingOptions)
edit         give a notice (`number`) a new `title`, or its title a `suffix`; `board` names the board
delete       remove a notice (`number`); `board` names the board
board_fault  begin a `fault` of board_faults.FAULTS on a board (`board`); `none` ends it
mood         the old name of board_fault, with `mood` for `fault` and `fine` for `none`
fault        inject a fault between a venue and its clients (the fields of FaultOptions; kinds in sim.faults)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from gevent.fileobject import FileObjectPosix

from pumpwatch.config_errors import convert
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.sim.board_faults import FAULTS, NO_FAULT
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.faults import inject
from pumpwatch.sim.ground_truth import STATE_NAMES
from pumpwatch.sim.notice_board import NoticeBoard
from pumpwatch.sim.options import FaultOptions, ListingOptions
from pumpwatch.sim.simulation import Planned, Simulation


def plan(simulation: Simulation) -> list[Planned]:
    """Return the listings and faults that the options plan, in order of time."""
    planned: list[Planned] = []
    for listing in simulation.options.listings:
        planned.append((listing.at_s, partial(publish, simulation, listing)))
    for fault in simulation.options.faults:
        planned.append((fault.at_s, partial(inject, simulation.venues, simulation.truth, fault)))
    return sorted(planned, key=lambda entry: entry[0])


def run_command(simulation: Simulation, path: str, body: Any) -> dict[str, Any]:
    """Run the command at the end of a path and return its answer. Raises UsageError or ConfigError for an invalid one."""
    name = path.rstrip("/").rpartition("/")[2]
    run = COMMANDS.get(name) or OLD_NAMES.get(name)
    if run is None:
        raise UsageError(f"no command `{name}`", f"known: {', '.join(COMMANDS)}")
    if not isinstance(body, dict):
        raise UsageError("the body of a command must be a JSON object")
    return run(simulation, body)


def read_commands(simulation: Simulation, stdin: Any) -> None:
    """Run the commands on stdin, one JSON object a line, with the command's name in `do`.

    The end of stdin ends the simulation.
    """
    with FileObjectPosix(os.dup(stdin.fileno()), "rb") as lines:
        for line in lines:
            try:
                body = json.loads(line)
                answer = run_command(simulation, body.pop("do"), body)
            except (PumpWatchError, ValueError, TypeError, KeyError, AttributeError) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer, ensure_ascii=False), flush=True)
    simulation.stopping.set()


def publish(simulation: Simulation, listing: ListingOptions) -> dict[str, Any]:
    """Publish a listing and make its coin jump on every venue from now on."""
    board = _board(simulation, listing.board)
    coin = next((coin for coin in simulation.coins if coin.name == listing.coin), Coin(listing.coin, 1.0, listing.coin))
    post = board.publish(coin, listing.markets, listed=listing.listed, title=listing.title, text=listing.text)
    pumped = {name: venue.market.pump(coin.name, post.first_listed_at_ns, listing.height, listing.volume)
              for name, venue in simulation.venues.items() if listing.height}
    return {"number": post.number, "title": post.title, "at_ns": post.first_listed_at_ns, "pumped": pumped}


def _board(simulation: Simulation, name: str) -> NoticeBoard:
    """Return the board of this name; for an empty name the default board, or the first."""
    if not simulation.boards:
        raise UsageError("no simulator plugin offers a notice board")
    usual = [board.name for board in simulation.boards.values() if board.dialect.default] or list(simulation.boards)
    board = simulation.boards.get(name or usual[0])
    if board is None:
        raise UsageError(f"no notice board `{name}`", f"known: {', '.join(simulation.boards)}")
    return board


def _publish(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    return publish(simulation, convert({"at_s": 0.0, **body}, ListingOptions, "publish"))


def _fault(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    return inject(simulation.venues, simulation.truth, convert(body, FaultOptions, "fault"))


def _edit(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    board = _board(simulation, str(body.get("board", "")))
    post = board.edit(int(body.get("number", 0)), str(body.get("suffix", "")), str(body.get("title", "")))
    return {"number": post.number, "title": post.title}


def _delete(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    post = _board(simulation, str(body.get("board", ""))).delete(int(body.get("number", 0)))
    return {"number": post.number, "title": post.title}


def _board_fault(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    board = _board(simulation, str(body.get("board", "")))
    if body.get("fault") not in FAULTS:
        raise UsageError(f"no fault `{body.get('fault')}` of a board", f"known: {', '.join(FAULTS)}")
    board.set_fault(body["fault"])
    return {"fault": board.fault}


def _mood(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    mood = body.get("mood")
    _board_fault(simulation, {**body, "fault": NO_FAULT if mood == "fine" else mood})
    return {"mood": mood}


def _status(simulation: Simulation, _: dict[str, Any]) -> dict[str, Any]:
    simulation.truth.flush()
    counts = simulation.truth.counts
    venues: dict[str, Any] = {}
    for name, venue in simulation.venues.items():
        venues[name] = {"made": venue.made, "connects": venue.connects, "requests": venue.requests,
                        "rejected": venue.rejected, "connections": [
            {"connection": connection.number, "streams": len(connection.session.topics), "sent": connection.sent,
             "queued_bytes": connection.stream.queued} for connection in venue.connections.values()]}
    return {"running": simulation.running, "traded_s": simulation.traded_s, "late_s": simulation.late_s,
            "venues": venues, "records": {word: counts.get(state, 0) for state, word in STATE_NAMES.items()},
            "behind": sum(source.behind() for source in simulation.sources),
            "queued_bytes": sum(connection["queued_bytes"] for venue in venues.values() for connection in venue["connections"]),
            "boards": {name: board.status() for name, board in simulation.boards.items()}}


def _pause(simulation: Simulation, _: dict[str, Any]) -> dict[str, Any]:
    simulation.pause()
    return _status(simulation, {})


def _resume(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    simulation.resume(float(body["rate"]) if "rate" in body else None)
    return {"running": True}


def _stop(simulation: Simulation, _: dict[str, Any]) -> dict[str, Any]:
    simulation.stopping.set()
    return {"stopping": True}


COMMANDS: dict[str, Callable[[Simulation, dict[str, Any]], dict[str, Any]]] = {
    "status": _status, "pause": _pause, "resume": _resume, "stop": _stop, "publish": _publish, "edit": _edit,
    "delete": _delete, "board_fault": _board_fault, "fault": _fault,
}
OLD_NAMES = {"mood": _mood}  # still understood
