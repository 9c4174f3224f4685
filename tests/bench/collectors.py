"""The two collectors under the same measure: ours, and cryptofeed with or without its QuestDB sink.

Both are real processes started as a user starts them, on the same Python. What each says about its own progress
is read from the file it keeps; CPU and memory come from the kernel.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.bench import peer
from tests.bench.database import PEER_TABLES, Database
from tests.bench.processes import BenchError, Child, Usage

SILENCE_S = 60.0  # a collector that says nothing for so long is stuck
POLL_S = 0.02  # how often its file is looked at: the bench itself must not take the cores
TABLE_PREFIX = "ours_"


@dataclass(frozen=True, slots=True)
class MarketAddress:
    """The addresses of one market of the simulated Binance, and the symbols of each connection to it."""

    market_type: str
    ws_url: str
    rest_url: str
    symbols_per_connection: int  # with which our collector places them so
    connections: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of the simulated venues."""

    markets: Sequence[MarketAddress]
    ca_file: Path

    @property
    def connections(self) -> int:
        return sum(len(market.connections) for market in self.markets)


@dataclass(frozen=True, slots=True)
class Sample:
    """A collector at one moment: what it has read, what still waits behind that, and what it used."""

    received: int
    waiting: int
    connections: int
    usage: Usage
    durable_ms: Mapping[int, int] | None = None  # ms from frame read to durable -> trades, since the start
    asked: int = 0  # how often the watch for silent symbols has asked a venue for its history


class Collector(Protocol):
    """A collector as a scenario uses it. database: where it stores beside its journal, None for nowhere.

    copies: the connections on which it reads each symbol.
    """

    name: str
    copies: int
    database: Database | None

    def start(self, addresses: Addresses) -> None:
        """Start the process; return at once."""

    def sample(self) -> Sample:
        """Wait for the next figures of the process and return them with what it used up to that moment."""

    def stored(self) -> int:
        """Return the trades that can be seen in the database; what was received where there is none."""

    def end(self) -> None:
        """End the process."""


class Ours:
    """`pumpwatch collect` with the journal alone, or with the journal and QuestDB."""

    def __init__(self, folder: Path, database: Database | None, copies: int = 1, doubled_windows: bool = True,
                 page: str = "off", market: Mapping[str, Any] | None = None) -> None:
        self.name, self.copies = ("pumpwatch+questdb" if database else "pumpwatch"), copies
        self.data = folder / "data"
        self.database = database
        self._folder, self._doubled_windows, self._page = folder, doubled_windows, page
        self._market = dict(market or {})
        self._child: Child | None = None
        self._received = 0
        self._last_written = 0

    def start(self, addresses: Addresses) -> None:
        self._folder.mkdir(parents=True)
        if self.database:
            self.database.clear(*self._tables())
        config = self._folder / "pumpwatch.yaml"
        config.write_text(yaml.safe_dump(self._config(addresses)), "utf-8")
        self._child = Child(self.name, [sys.executable, "-m", "pumpwatch", "collect", "-c", config], self._folder, {})
        self._child.put_first()

    def sample(self) -> Sample:
        assert self._child
        deadline = time.monotonic() + SILENCE_S
        while (status := self._status()).get("written_at_ns", 0) == self._last_written:
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} has said nothing for {SILENCE_S:.0f} s:\n{self._child.last_lines()}")
            time.sleep(POLL_S)
        used = self._child.usage()
        self._last_written = status["written_at_ns"]
        venues, journal = status["venues"], status["journal"]
        waiting = sum(int(sink["backlog_trades"]) for sink in status.get("sinks", ()))
        self._received = sum(int(one["trades_total"]) for one in venues)
        return Sample(self._received, waiting,
                      sum(int(one["connections_up"]) for one in venues), used,
                      {int(ms): int(trades) for ms, trades in journal["durable_ms"]},
                      sum(int(counter["value"]) for counter in status["counters"] if counter["name"] == "silence_checks_total"))

    def windows(self) -> dict[str, int]:
        """Return how many listing windows are open, and how many archives are written and not final."""
        found: dict[str, int] = self._status()["listing"]["windows"]
        return found

    def market(self) -> dict[str, Any]:
        """Return the figures of the process that makes candles; none before the first ones."""
        found: dict[str, Any] = self._status().get("market", {})
        return found

    def stored(self) -> int:
        return self.database.rows(f"{TABLE_PREFIX}trades") if self.database else self._received

    def tables_by_venue(self) -> dict[str, tuple[str, str, str]]:
        """Return for each venue the table, the condition that finds its rows there, and how symbols are spelt."""
        table = f"{TABLE_PREFIX}trades"
        return {f"binance.{market}": (table, f"market_type = '{market}'", "{symbol}") for market in ("spot", "futures")}

    def end(self) -> None:
        if self._child:
            code = self._child.end()
            if code:
                raise BenchError(f"{self.name} ended with {code}:\n{self._child.last_lines()}")

    def _status(self) -> dict[str, Any]:
        assert self._child
        self._child.usage()  # raises with its last lines where it has ended
        try:
            found: dict[str, Any] = json.loads((self.data / "status.json").read_text("utf-8"))
        except FileNotFoundError:
            return {"written_at_ns": self._last_written}
        return found

    def _config(self, addresses: Addresses) -> dict[str, Any]:
        venues = {market.market_type: {
            "ws_url": market.ws_url, "rest_url": market.rest_url,
            "symbols_per_connection": market.symbols_per_connection, "redundancy": self.copies,
        } for market in addresses.markets}
        sinks = {"questdb": {"addr": self.database.addr, "table_prefix": TABLE_PREFIX}} if self.database else {}
        return {"exchanges": {"binance": venues}, "net": {"ca_file": str(addresses.ca_file)},
                "store": {"dir": str(self.data)}, "sinks": sinks, "api": {"listen": self._page}, "market": self._market,
                "listing": {"doubled": self._doubled_windows, "sources": {"upbit": {"enabled": False}}}}

    def _tables(self) -> list[str]:
        names = ("candles_5m", "candles_1m", "trades", "exchange_health", "listing_events")
        return [TABLE_PREFIX + name for name in names]


class Cryptofeed:
    """cryptofeed 2.4.1 through its runner, with its QuestDB sink or with a callback that does nothing."""

    copies = 1

    def __init__(self, folder: Path, database: Database | None) -> None:
        self.name = "cryptofeed+questdb" if database else "cryptofeed"
        self.database = database
        self._folder = folder
        self._status = folder / "status.json"
        self._child: Child | None = None
        self._received = 0

    def start(self, addresses: Addresses) -> None:
        python = peer.environment()
        self._folder.mkdir(parents=True)
        if self.database:
            self.database.clear(*PEER_TABLES)
        wanted = json.dumps({
            "markets": [{"market": market.market_type, "rest_url": market.rest_url, "connections": market.connections,
                         "ws_url": _without_path_end(market.ws_url)} for market in addresses.markets],
            "ilp_port": self.database.ilp_port if self.database else 0,
            "status": str(self._status),
        })
        (self._folder / "wanted.json").write_text(wanted, "utf-8")
        self._child = Child(self.name, [python, peer.RUNNER, self._folder / "wanted.json"], self._folder,
                            {"SSL_CERT_FILE": str(addresses.ca_file)})
        self._child.put_first()

    def sample(self) -> Sample:
        assert self._child
        deadline, before = time.monotonic() + SILENCE_S, peer.read_status(self._status)
        while (status := peer.read_status(self._status)) is None or (before is not None and status.at == before.at):
            self._child.usage()  # raises with its last lines where it has ended
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} has said nothing for {SILENCE_S:.0f} s:\n{self._child.last_lines()}")
            time.sleep(POLL_S)
        self._received = status.received
        return Sample(status.received, status.waiting, status.connections, self._child.usage())

    def stored(self) -> int:
        return self.database.rows(*PEER_TABLES) if self.database else self._received

    def tables_by_venue(self) -> dict[str, tuple[str, str, str]]:
        """Return for each venue its table, the condition that finds its rows there, and how symbols are spelt."""
        spot, futures = PEER_TABLES
        return {"binance.spot": (spot, "true", "{coin}-USDT"), "binance.futures": (futures, "true", "{coin}-USDT-PERP")}

    def end(self) -> None:
        if self._child:
            self._child.end()  # it has orders to store nothing more by now; how it leaves is its own affair


def _without_path_end(ws_url: str) -> str:
    """Return the address without `/ws`: cryptofeed adds `/stream?streams=...` itself."""
    return ws_url.removesuffix("/ws").removesuffix("/stream")
