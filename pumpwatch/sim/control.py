"""Commands to a running simulation, by HTTP or stdin, and what it says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from gevent.fileobject import FileObjectPosix

from pumpwatch.config import convert
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.faults import cause
from pumpwatch.sim.notice_board import MOODS
from pumpwatch.sim.options import FaultOptions, ListingOptions

if TYPE_CHECKING:
    from pumpwatch.sim.server import Simulation

DATA = "sim-data"  # where a collector that is pointed at the simulation puts everything


def addresses(simulation: Simulation, ports: dict[str, int], ca_file: Path) -> dict[str, Any]:
    """Return where everything is."""
    host = simulation.options.host
    venues = {}
    for name, venue in simulation.venues.items():
        at = f"{host}:{ports[name]}"
        venues[name] = {"ws_url": f"wss://{at}{venue.dialect.ws_path}", "rest_url": f"https://{at}{venue.dialect.rest_path}"}
    boards = {name: {"url": f"https://{host}:{ports[name]}{board.dialect.url_path}"}
              for name, board in simulation.boards.items()}
    return {"venues": venues, "boards": boards, "control": f"https://{host}:{ports['control']}/sim",
            "ca_file": str(ca_file), "folder": str(simulation.folder), "pid": os.getpid(),
            "coins": [coin.name for coin in simulation.coins]}


def config_yaml(known: dict[str, Any]) -> str:
    """Return the config that points a collector at these addresses, and away from where real data may be."""
    exchanges: dict[str, Any] = {}
    for name, urls in known["venues"].items():
        exchange, _, market_type = name.partition(".")
        markets = exchanges.setdefault(exchange, {"spot": {"enabled": False}, "futures": {"enabled": False}})
        markets[market_type] = dict(urls)
    config = {"exchanges": exchanges, "net": {"ca_file": known["ca_file"]}, "symbols_file": f"{DATA}/symbols.yaml",
              "store": {"dir": DATA}, "listing": {
                  "archive_dir": DATA, "sources": {name: dict(board) for name, board in known["boards"].items()}}}
    return str(yaml.safe_dump(config, sort_keys=False))


def plan(simulation: Simulation) -> list[tuple[float, Callable[[], Any]]]:
    """Return what is to happen by schedule, by seconds of trading."""
    due: list[tuple[float, Callable[[], Any]]] = []
    for listing in simulation.options.listings:
        due.append((listing.at_s, partial(publish, simulation, listing)))
    for fault in simulation.options.faults:
        due.append((fault.at_s, partial(cause, simulation, fault)))
    return sorted(due, key=lambda one: one[0])


def command(simulation: Simulation, path: str, body: Any) -> dict[str, Any]:
    """Do one command and return its answer. Raises UsageError or ConfigError where it cannot be meant."""
    name = path.rstrip("/").rpartition("/")[2]
    if name not in COMMANDS:
        raise UsageError(f"no command `{name}`", f"known: {', '.join(COMMANDS)}")
    if not isinstance(body, dict):
        raise UsageError("a command's body is a JSON object")
    return COMMANDS[name](simulation, body)


def read_commands(simulation: Simulation, stdin: Any) -> None:
    """Do the commands on stdin, one JSON object a line with the command's name in `do`; its end ends the simulation."""
    with FileObjectPosix(os.dup(stdin.fileno()), "rb") as lines:
        for line in lines:
            try:
                body = json.loads(line)
                answer = command(simulation, body.pop("do"), body)
            except (PumpWatchError, ValueError, KeyError, AttributeError) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer, ensure_ascii=False), flush=True)
    simulation.stopping.set()


def publish(simulation: Simulation, listing: ListingOptions) -> dict[str, Any]:
    """Publish a listing and let its coin jump on every venue, from this moment."""
    if not simulation.boards:
        raise UsageError("no simulator plugin offers a notice board")
    board = simulation.boards.get(listing.board or next(iter(simulation.boards)))
    if board is None:
        raise UsageError(f"no notice board `{listing.board}`", f"known: {', '.join(simulation.boards)}")
    coin = next((one for one in simulation.coins if one.name == listing.coin), Coin(listing.coin, 1.0, listing.coin))
    post = board.publish(coin, listing.markets, listed=listing.listed, title=listing.title)
    pumped = {name: venue.market.pump(coin.name, post.first_listed_at_ns, listing.height, listing.volume)
              for name, venue in simulation.venues.items() if listing.height}
    return {"number": post.number, "title": post.title, "at_ns": post.first_listed_at_ns, "pumped": pumped}


def _publish(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    return publish(simulation, convert({"at_s": 0.0, **body}, ListingOptions, "publish"))


def _fault(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    return cause(simulation, convert(body, FaultOptions, "fault"))


def _edit(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    board = simulation.boards[body.get("board") or next(iter(simulation.boards))]
    post = board.edit(int(body.get("number", 0)), str(body.get("suffix", "")), str(body.get("title", "")))
    return {"number": post.number, "title": post.title}


def _mood(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    board = simulation.boards[body.get("board") or next(iter(simulation.boards))]
    if body.get("mood") not in MOODS:
        raise UsageError(f"no mood `{body.get('mood')}`", f"known: {', '.join(MOODS)}")
    board.mood = body["mood"]
    return {"mood": board.mood}


def _status(simulation: Simulation, _: dict[str, Any]) -> dict[str, Any]:
    simulation.truth.flush()
    counts = simulation.truth.counts
    names = {0: "sent", 1: "doubled", 2: "past", 10: "no_subscriber", 11: "unsent", 12: "withheld", 13: "spoilt"}
    venues = {}
    for name, venue in simulation.venues.items():
        venues[name] = {"made": venue.made, "connects": venue.connects, "connections": [
            {"connection": link.number, "streams": len(link.session.topics), "sent": link.sent,
             "queued_bytes": link.stream.queued} for link in venue.links.values()]}
    links = [link for venue in simulation.venues.values() for link in venue.links.values()]
    return {"running": simulation.running, "traded_s": simulation.traded_s, "late_s": simulation.late_s,
            "venues": venues, "records": {word: counts.get(state, 0) for state, word in names.items()},
            "behind": sum(source.behind() for source in simulation.sources),
            "queued_bytes": sum(link.stream.queued for link in links),
            "boards": {name: board.status() for name, board in simulation.boards.items()}}


def _pause(simulation: Simulation, _: dict[str, Any]) -> dict[str, Any]:
    simulation.pause()
    return _status(simulation, {})


def _resume(simulation: Simulation, body: dict[str, Any]) -> dict[str, Any]:
    if "rate" in body:
        total = sum(source.rate for source in simulation.sources) or 1.0
        for source in simulation.sources:
            source.rate *= float(body["rate"]) / total
    for source in simulation.sources:
        source.prepare()
    simulation.running = True
    return {"running": True}


def _stop(simulation: Simulation, _: dict[str, Any]) -> dict[str, Any]:
    simulation.stopping.set()
    return {"stopping": True}


COMMANDS: dict[str, Callable[[Simulation, dict[str, Any]], dict[str, Any]]] = {
    "status": _status, "pause": _pause, "resume": _resume, "stop": _stop, "publish": _publish, "edit": _edit,
    "mood": _mood, "fault": _fault,
}
