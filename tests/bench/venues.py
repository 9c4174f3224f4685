"""The venue side: the simulated Binance, spot and futures, over TLS on loopback, a TLS record a frame."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray

from pumpwatch.config import Config
from pumpwatch.feeds.placement import Placement
from pumpwatch.instruments.lists import fetch_instruments
from pumpwatch.model import Instrument, TradeBatch
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.ground_truth import PAST, Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.venue import HttpRequest, Venue
from tests.bench.collectors import Addresses, MarketAddress
from tests.bench.processes import Usage, usage

MARKETS = ("binance.spot", "binance.futures")
COINS = 448  # on each market, as many as Binance has
VENUE_NICENESS = -15  # where that is allowed
Keys = NDArray[np.int64]  # symbol and trade id in one number
_ID_BITS = 40


def placed(venue: Venue, listed: Sequence[Instrument], connections: int) -> tuple[int, Placement]:
    """Return the smallest `symbols_per_connection` with which so many connections are enough, and the placement it gives."""
    for per_connection in range(-(-len(listed) // connections), len(listed) + 2):
        roster = Placement(venue, per_connection)
        roster.refresh(listed)
        if len(roster.places) <= connections:
            break
    return per_connection, roster


@dataclass(frozen=True, slots=True)
class Load:
    """The load that the venues offer. tick_ms: frames that happen within a tick arrive together.

    search: find the highest rate the collector sustains, up to `rate`, and measure at that.
    """

    rate: float
    connections: int
    mode: str
    tick_ms: float
    search: bool = False


class Venues:
    """A simulation that waits until it is told to trade. Frames are the same in each run: they follow from the seed."""

    def __init__(self, folder: Path, load: Load) -> None:
        self._load = load
        # libev's select waits by the microsecond, epoll by the millisecond, and frames would come in clumps
        os.environ["GEVENT_BACKEND"] = "select"
        self._sim = SimProcess(
            folder=str(folder), venues=list(MARKETS), symbols=COINS, rate=load.rate, mode=load.mode,
            tick_ms=load.tick_ms, paused=True, history_trades=10_000, flag_shares={name: {} for name in MARKETS},
            backlog_bytes=1 << 33)
        self._sim.start()
        del os.environ["GEVENT_BACKEND"]
        with contextlib.suppress(PermissionError):  # venues are other machines: they do not wait for our processes
            os.setpriority(os.PRIO_PROCESS, self._sim.pid, VENUE_NICENESS)
            if load.mode == "paced":  # it needs little, and each frame at its moment
                os.sched_setscheduler(self._sim.pid, os.SCHED_FIFO, os.sched_param(1))

    def addresses(self) -> Addresses:
        """Return where the markets are, and the placement of symbols that our collector will choose for itself."""
        plugins = load_plugins(Config())
        each = self._load.connections // len(MARKETS)
        markets = []
        for name in MARKETS:
            venue, urls = plugins.venue(name), self._sim.addresses["venues"][name]
            listed = fetch_instruments(venue, partial(self._get, urls["rest_url"]))
            per_connection, roster = placed(venue, listed, each)
            markets.append(MarketAddress(venue.market_type, urls["ws_url"], urls["rest_url"], per_connection,
                                         [sorted(place.symbols) for place in roster.places]))
        return Addresses(markets, Path(self._sim.addresses["ca_file"]))

    def _get(self, url: str, request: HttpRequest) -> bytes:
        return requests.get(url + request.path, params=dict(request.params), timeout=10,
                            verify=self._sim.addresses["ca_file"]).content

    def resume(self, rate: float = 0) -> None:
        """Start to trade, or go on; with a rate, at that rate from now on."""
        self._sim.resume(**({"rate": rate} if rate else {}))

    def pause(self) -> None:
        """Stop trading; what is queued still goes out."""
        self._sim.ask("pause")

    def sent(self) -> int:
        """Return the trades that a connection was given whole."""
        return int(self._sim.status()["records"]["sent"])

    def queued_bytes(self) -> int:
        """Return what waits because a client does not read."""
        return int(self._sim.status()["queued_bytes"])

    def usage(self) -> Usage:
        """Return what the simulation has used so far."""
        return usage(self._sim.pid)

    def truth(self) -> Truth:
        """Return what was sent, trade by trade."""
        return self._sim.truth()

    def end(self) -> None:
        """End the simulation."""
        self._sim.stop()


def sent_keys(truth: Truth) -> Keys:
    """Return the key of each trade that was sent."""
    records = truth.records[truth.records["state"] <= PAST]
    place = np.array([number << _ID_BITS for number in range(len(truth.venues) * COINS)], np.int64)
    keys: Keys = place[records["venue"].astype(np.int64) * COINS + records["symbol"]] | records["trade_id"]
    return keys


def stored_keys(truth: Truth, batch: TradeBatch, names: Mapping[int, tuple[str, str, str]]) -> Keys:
    """Return the key of each stored trade; `names` turns an instrument's id into exchange, market and symbol."""
    table = np.zeros(max(names, default=-1) + 1, np.int64)
    for number, (exchange, market_type, symbol) in names.items():
        venue = truth.venues.index(f"{exchange}.{market_type}")
        table[number] = (venue * COINS + truth.symbols[venue].index(symbol)) << _ID_BITS
    return table[batch.instrument] | batch.trade_id


def compare(sent: Keys, stored: Keys) -> tuple[int, int, int]:
    """Return how many trades are missing, doubled, and never sent."""
    once, kept = np.unique(sent), np.unique(stored)
    return (len(np.setdiff1d(once, kept, assume_unique=True)), len(stored) - len(kept),
            len(np.setdiff1d(kept, once, assume_unique=True)))


def per_symbol(truth: Truth) -> dict[str, dict[str, list[Any]]]:
    """Return venue -> symbol -> [trades, distinct ids, lowest, highest], as Database.per_symbol does."""
    keys = np.unique(sent_keys(truth))
    places, starts, counts = np.unique(keys >> _ID_BITS, return_index=True, return_counts=True)
    found: dict[str, dict[str, list[Any]]] = {name: {} for name in truth.venues}
    mask = (1 << _ID_BITS) - 1
    for place, start, count in zip(places.tolist(), starts.tolist(), counts.tolist(), strict=True):
        venue, symbol = divmod(place, COINS)
        first, last = int(keys[start] & mask), int(keys[start + count - 1] & mask)
        found[truth.venues[venue]][truth.symbols[venue][symbol]] = [count, count, first, last]
    return found
