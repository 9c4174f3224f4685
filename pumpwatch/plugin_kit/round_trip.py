"""Make a round trip: a plugin's dialects play its venues, the real collector records them, and both sides are compared.

Venues and collector run as separate processes for some seconds, with the same plugins as this process.
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
from pumpwatch.findings import FAIL, OK
from pumpwatch.model import SIDES, IdKind, TradeBatch
from pumpwatch.plugin_kit.results import Check, short
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.reader import JournalReader
from pumpwatch.venue import Venue

if TYPE_CHECKING:
    from pumpwatch.sim.dialect import Dialect

CHECK = "round trip"
SECONDS, RATE, COINS = 4.0, 400.0, 8
UP_WITHIN_S, STORED_WITHIN_S, END_WITHIN_S = 30.0, 15.0, 20.0


def check_round_trip(played: Sequence[tuple[Venue, Dialect]], plugin_folder: str) -> list[Check]:
    """Return a row for each venue: ok if every trade that its dialect sent is stored once and unchanged."""
    names = [venue.name for venue, _ in played]
    try:
        with tempfile.TemporaryDirectory(prefix="pumpwatch-check-") as folder, SimProcess(
                venues=names, symbols=COINS, rate=RATE * len(names), paused=True, plugin_folder=plugin_folder) as sim:
            stored = _collect(sim, _config(sim, played, Path(folder), plugin_folder), Path(folder))
            sim.stop()
            return [compare_trades(venue, sim.truth(), *stored(venue)) for venue, _ in played]
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
    """Let a collector record the trading venues; return the function that reads a venue's stored trades."""
    with _collector(config, folder) as figures:
        _wait(lambda: _up(figures()), UP_WITHIN_S, "the connections were not established", folder)
        refused = [symbol for row in figures()["venues"] for symbol in row["refused"]]
        if refused:
            raise ServiceUnavailable(f"the venue rejects symbols of its own list: {refused[:5]}")
        sim.resume()
        time.sleep(SECONDS)
        sent = sim.pause()["records"].get("sent", 0)
        deadline = time.monotonic() + STORED_WITHIN_S
        while _stored(figures()) < sent and time.monotonic() < deadline:  # the comparison then names missing trades
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
    """Run a collector and yield the function that returns its figures. SIGTERM ends it, as by a service manager."""
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
    found = [line for line in lines if " WARNING " in line or " ERROR " in line] or [line for line in lines if line.strip()]
    return short(found[-1], 300) if found else "its log is empty"


def compare_trades(venue: Venue, truth: Truth, stored: TradeBatch, catalogue: Catalogue) -> Check:
    """Compare every trade. Ids are compared if the venue's are ordered numbers."""
    with_ids = venue.id_kind in (IdKind.CONTIGUOUS, IdKind.MONOTONIC)
    sent = Counter(_sent(venue, truth, with_ids))
    ids = stored.trade_id.tolist() if with_ids else [0] * len(stored)
    have = Counter((catalogue.instruments[number].symbol, at, price, quantity, SIDES[side], trade_id)
                   for number, at, price, quantity, side, trade_id in zip(
                       stored.instrument.tolist(), stored.timestamp.tolist(), stored.price.tolist(), stored.quantity.tolist(),
                       stored.side.tolist(), ids, strict=True))
    missing, extra = list((sent - have).elements()), list((have - sent).elements())
    if not sent:
        return Check(venue.name, CHECK, FAIL, "nothing was sent: no subscription led to trades")
    if missing or extra:
        example = f"sent {missing[0]}" if missing else f"stored {extra[0]}"
        if missing and extra:
            example += f", stored {next((trade for trade in extra if trade[0] == missing[0][0]), 'no trade of this symbol')}"
        return Check(venue.name, CHECK, FAIL, f"of {sum(sent.values()):,} trades sent {len(missing):,} are not stored, and "
                                              f"{len(extra):,} are stored that were not sent: {example}")
    return Check(venue.name, CHECK, OK, f"{sum(sent.values()):,} trades sent and stored, each once and unchanged")


def _sent(venue: Venue, truth: Truth, with_ids: bool) -> Iterator[tuple[Any, ...]]:
    symbols = truth.symbols[truth.venues.index(venue.name)]
    for trade in truth.trades(venue.name):
        yield (symbols[trade["symbol"]], int(trade["timestamp"]), float(trade["price"]), float(trade["quantity"]),
               SIDES[int(trade["sell"])], int(trade["trade_id"]) if with_ids else 0)
