"""The whole way: a plugin's venues as its dialects play them, the real collector, and a count of both sides.

Venues and collector run as processes of their own for some seconds, with the plugins that this process has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import PumpWatchError, ServiceUnavailable
from pumpwatch.model import SIDES, IdKind, TradeBatch, Venue
from pumpwatch.plugin_kit.results import FAIL, OK, Check, short
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.reader import JournalReader

if TYPE_CHECKING:
    from pumpwatch.sim.dialect import Dialect

CHECK = "round trip"
SECONDS, RATE, COINS = 4.0, 400.0, 8
UP_WITHIN_S, STORED_WITHIN_S, END_WITHIN_S = 30.0, 15.0, 20.0


def check_round_trip(played: Sequence[tuple[Venue, Dialect]], plugin_folder: str) -> list[Check]:
    """Return a row for each venue as its dialect plays it: ok where every trade sent is stored, once, as it was sent."""
    names = [venue.name for venue, _ in played]
    try:
        with tempfile.TemporaryDirectory(prefix="pumpwatch-check-") as folder, SimProcess(
                venues=names, symbols=COINS, rate=RATE * len(names), paused=True, plugin_folder=plugin_folder) as sim:
            stored = _collect(sim, _config(sim, played, Path(folder), plugin_folder), Path(folder))
            sim.stop()
            return [_compared(venue, sim.truth(), *stored(venue)) for venue, _ in played]
    except PumpWatchError as error:
        return [Check(name, CHECK, FAIL, error.message) for name in names]


def _config(sim: SimProcess, played: Sequence[tuple[Venue, Dialect]], folder: Path, plugin_folder: str) -> dict[str, Any]:
    """Return the collector's config."""
    config: dict[str, Any] = yaml.safe_load(sim.config_yaml())
    config["store"] = {"dir": str(folder / "data")}
    config["listing"] = {"sources": {}}
    config["plugins"] = {"folder": plugin_folder}
    for venue, dialect in played:
        part = config["exchanges"][venue.exchange][venue.market_type]
        part["ws_url"] = f"{part['ws_url'].removesuffix(dialect.ws_path)}{dialect.path_of(venue.variant)}"
        part["variant"] = venue.variant
    return config


def _collect(sim: SimProcess, config: dict[str, Any], folder: Path) -> Callable[[Venue], tuple[TradeBatch, Catalogue]]:
    """Let the venues trade into a collector; return what reads a venue's stored trades."""
    with _collector(config, folder) as figures:
        _wait(lambda: _up(figures()), UP_WITHIN_S, "its connections do not come up", folder)
        refused = [symbol for row in figures()["venues"] for symbol in row["refused"]]
        if refused:
            raise ServiceUnavailable(f"the venue refuses symbols of its own list: {refused[:5]}")
        sim.resume()
        time.sleep(SECONDS)
        sent = sim.pause()["records"].get("sent", 0)
        deadline = time.monotonic() + STORED_WITHIN_S
        while _stored(figures()) < sent and time.monotonic() < deadline:  # a lost trade is for the comparison to tell
            time.sleep(0.1)

    def read(venue: Venue) -> tuple[TradeBatch, Catalogue]:
        truth, catalogue = sim.truth(), Catalogue()
        reader = JournalReader(folder / "data", catalogue)
        reader.load_instruments()
        number = truth.venues.index(venue.name)
        wanted = [(venue.exchange, venue.market_type, symbol) for symbol in truth.symbols[number]]
        return reader.query(wanted, 0, 2**62), catalogue

    return read


@contextmanager
def _collector(config: dict[str, Any], folder: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """Run a collector; what it yields gives its figures. It is ended as a service manager does."""
    file, log_file = folder / "pumpwatch.yaml", folder / "collector.log"
    file.write_text(yaml.safe_dump(config), "utf-8")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUMPWATCH_")}
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # a zipapp's packages are on no other path
    with log_file.open("wb") as log, subprocess.Popen([sys.executable, "-m", "pumpwatch", "collect", "-c", str(file)], stdout=log,
                                                      stderr=log, env=environ, cwd=folder) as child:

        def figures() -> dict[str, Any]:
            if child.poll() is not None:
                raise ServiceUnavailable(f"the collector ended: {_last_line(folder)}")
            try:
                found: dict[str, Any] = json.loads((folder / "data" / "status.json").read_text("utf-8"))
                return found
            except (OSError, ValueError):
                return {"venues": []}

        try:
            yield figures
        finally:
            child.terminate()
            try:
                child.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()


def _up(figures: dict[str, Any]) -> bool:
    rows = figures["venues"]
    return bool(rows) and all(row["connections"] and row["connections_up"] == row["connections"] for row in rows)


def _stored(figures: dict[str, Any]) -> int:
    return sum(int(row["trades_total"]) for row in figures["venues"])


def _wait(done: Callable[[], bool], within_s: float, problem: str, folder: Path) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"{problem} within {within_s:.0f} s: {_last_line(folder)}")
        time.sleep(0.1)


def _last_line(folder: Path) -> str:
    lines = (folder / "collector.log").read_text("utf-8", "replace").split("\n")
    told = [line for line in lines if " WARNING " in line or " ERROR " in line] or [line for line in lines if line.strip()]
    return short(told[-1], 300) if told else "it says nothing"


def _compared(venue: Venue, truth: Truth, stored: TradeBatch, catalogue: Catalogue) -> Check:
    """Compare trade by trade; ids count where the venue's are numbers in an order."""
    with_ids = venue.id_kind in (IdKind.CONTIGUOUS, IdKind.MONOTONIC)
    sent = Counter(_sent(venue, truth, with_ids))
    ids = stored.trade_id.tolist() if with_ids else [0] * len(stored)
    have = Counter((catalogue.instruments[number].symbol, at, price, quantity, SIDES[side], trade_id)
                   for number, at, price, quantity, side, trade_id in zip(
                       stored.instrument.tolist(), stored.timestamp.tolist(), stored.price.tolist(), stored.quantity.tolist(),
                       stored.side.tolist(), ids, strict=True))
    missing, more = list((sent - have).elements()), list((have - sent).elements())
    if not sent:
        return Check(venue.name, CHECK, FAIL, "nothing was sent: no subscription led to trades")
    if missing or more:
        example = f"sent {missing[0]}" if missing else f"stored {more[0]}"
        if missing and more:
            example += f", stored {next((one for one in more if one[0] == missing[0][0]), 'nothing like it')}"
        return Check(venue.name, CHECK, FAIL, f"of {sum(sent.values()):,} trades sent {len(missing):,} are not stored, and "
                                              f"{len(more):,} are stored that were not sent: {example}")
    return Check(venue.name, CHECK, OK, f"{sum(sent.values()):,} trades sent, as many stored, each once and as it was sent")


def _sent(venue: Venue, truth: Truth, with_ids: bool) -> Iterator[tuple[Any, ...]]:
    symbols = truth.symbols[truth.venues.index(venue.name)]
    for one in truth.trades(venue.name):
        symbol = symbols[one["symbol"]]
        yield (symbol, int(one["timestamp"]), float(one["price"]), float(one["quantity"]),
               SIDES[int(one["sell"])], int(one["trade_id"]) if with_ids else 0)
