"""Measure the cost of turning frames into numpy columns, venue by venue, on one core that does nothing else.

The frames are made by the simulator's dialects: the real shape, every symbol of a market, other numbers in each. What is
measured is the plugin's `parse` and what the collector builds from it (`VenueParser`): ids looked up, numbers scaled and
checked, columns made. Beside it, on the same trades:

- `orjson.loads` of each frame to a dict, and nothing else: what every parser that works on dicts pays first;
- cryptofeed's own handling of the frame, up to a callback that does nothing (parse_peer.py). It reads Binance from combined
  streams and Gate's sizes as numbers, so it gets the same trades in those frames; it has no parser for the rest.

Frames come in calls of 1,000 trades, as when much happens at once; `of few` is calls of 20, which is what a tick of 10 ms
gives a venue at 2,000 trades a second. CPU time of the thread, the best of the rounds.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.instruments.lists import fetch_instruments
from pumpwatch.net.frames import Frames, NoSource
from pumpwatch.pipeline.parse import VenueParser
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.client_limits import WindowMeter
from pumpwatch.sim.dialect import ClientSession, Dialect
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.http_messages import HttpCall
from pumpwatch.sim.market import SimulatedMarket, coins
from pumpwatch.sim.rows import SymbolTable
from pumpwatch.stats import Stats
from pumpwatch.venue import HttpRequest, Venue
from tests.bench import peer
from tests.bench.processes import BenchError

COINS = 200
TRADES, FEW, TOGETHER = 1000, 20, 10
PEER = Path(__file__).with_name("parse_peer.py")
SEVERAL = {  # venues whose frames carry several trades when they happen at once, and where in the frame
    "bybit.spot": "data", "bybit.futures": "data", "gate.futures": "result", "phemex.spot": "trades",
    "phemex.futures": "trades_p"}
NEWEST_FIRST = {"trades", "trades_p"}
PEER_READS = {"binance.spot": "wrapped", "binance.futures": "wrapped", "gate.futures": "whole"}  # another form of frame


@dataclass(frozen=True, slots=True)
class Made:
    """Frames of one venue: single trades, and ten together where the venue does that; the latter is empty elsewhere."""

    single: list[bytes]
    together: list[bytes]


def parse(rounds: int, with_peer: bool) -> dict[str, Any]:
    """Return a row for each venue with its µs a trade, and the worst of them."""
    plugins = load_plugins(Config())
    dialects = {one.name: one for one in plugins.dialects if isinstance(one, Dialect)}
    venues = [one for one in plugins.venues if not one.variant and one.name in dialects]
    rows = [_row(venue, dialects[venue.name], rounds) for venue in venues]
    others = _ask_peer([_asked(venue, dialects[venue.name]) for venue in venues], rounds) if with_peer else {}
    for row in rows:
        row |= others.get(row["venue"], {})
    worst: dict[str, Any] = {f"worst_{key}": max((row[key] for row in rows if key in row), default=None)
                             for key in ("single_us", "together_us")}
    return {"venues": rows, "peer": peer.versions() if with_peer else [], **worst}


def made(dialect: Dialect, form: str, trades: int = TRADES) -> Made:
    """Return frames of a dialect in a form."""
    table = SymbolTable(dialect.symbols(coins(COINS)))
    now_ns = time.time_ns()
    rows = SimulatedMarket(table, [7], first_id=dialect.first_id, unit_ns=dialect.timestamp_unit_ns, flag_shares={}).next_trades(
        trades, now_ns - NS_PER_S, now_ns)
    singles = [frame for number in range(trades) for frame in dialect.encode(form, rows.take(slice(number, number + 1)))]
    key = SEVERAL.get(dialect.name)
    return Made(singles, _joined(singles, key) if key else [])


def _joined(singles: Sequence[bytes], key: str) -> list[bytes]:
    """Put ten trades into the list that a frame has for them; they are of the symbol of the first."""
    frames = []
    for start in range(0, len(singles) - TOGETHER + 1, TOGETHER):
        parts = [json.loads(single) for single in singles[start : start + TOGETHER]]
        first = parts[0][key][0]
        names = {name: first[name] for name in ("s", "contract") if name in first} if isinstance(first, dict) else {}
        rows = [{**part[key][0], **names} if names else part[key][0] for part in parts]
        parts[0][key] = rows[::-1] if key in NEWEST_FIRST else rows
        frames.append(json.dumps(parts[0], separators=(",", ":")).encode())
    return frames


def form_of(venue: Venue, dialect: Dialect) -> str:
    """Return the form in which the collector gets a venue's frames."""
    session = ClientSession(dialect.ws_path or "/", {}, {name.lower(): value for name, value in venue.headers.items()})
    dialect.open(session, dialect.rules)
    return session.form


def parser_of(venue: Venue, dialect: Dialect) -> VenueParser:
    """Return the collector's parser with all of a dialect's instruments, as its REST side lists them."""
    history = TradeHistory(SymbolTable(dialect.symbols(coins(COINS))), 0)
    meter, catalogue, clock = WindowMeter(Clock(), 60), Catalogue(), Clock()

    def ask(request: HttpRequest) -> bytes:
        query = {name: str(value) for name, value in request.params.items()}
        call = HttpCall(request.method, dialect.rest_path + request.path, query, {}, b"", clock.now_ns(), {})
        return dialect.rest(call, dialect.rules, history, meter).body

    for one in fetch_instruments(venue, ask):
        catalogue.add((venue.exchange, venue.market_type), one)
    return VenueParser(venue, catalogue, clock, Stats())


def read(parser: VenueParser, frames: Sequence[bytes], calls: int = 1) -> tuple[int, float]:
    """Parse the frames in so many calls; return the trades and the CPU seconds."""
    step = -(-len(frames) // calls)
    parts = [_arrived(frames[start : start + step]) for start in range(0, len(frames), step)]
    began = time.thread_time_ns()
    parsed = [one for part in parts for one in parser.parse(part)]
    took = time.thread_time_ns() - began
    return sum(len(one.batch) for one in parsed), took / NS_PER_S


def _arrived(frames: Sequence[bytes]) -> Frames:
    stops, end = [], 0
    for frame in frames:
        end += len(frame) + 1
        stops.append(end)
    text = memoryview(bytearray(b"[" + b",".join(frames) + b"]"))
    return Frames(text, stops, [len(stops)], [time.time_ns()], [NoSource()])


def _row(venue: Venue, dialect: Dialect, rounds: int) -> dict[str, Any]:
    frames, parser = made(dialect, form_of(venue, dialect)), parser_of(venue, dialect)
    row: dict[str, Any] = {"venue": venue.name, "bytes": sum(map(len, frames.single)) / len(frames.single),
                           "single_us": _best(lambda: read(parser, frames.single), rounds),
                           "few_us": _best(lambda: read(parser, frames.single, TRADES // FEW), rounds)}
    if frames.together:
        row["together_us"] = _best(lambda: read(parser, frames.together), rounds)
    if parser.quarantine:
        raise AssertionError(f"{venue.name}: {parser.quarantine[0].reason}: {parser.quarantine[0].payload[:300]!r}")
    return row


def _best(once: Callable[[], tuple[int, float]], rounds: int) -> float:
    """Return the lowest µs a trade of so many rounds; each gives its trades and CPU seconds."""
    taken = []
    for _ in range(rounds):
        trades, seconds = once()
        assert trades == TRADES, f"{trades} of {TRADES} trades were read"
        taken.append(seconds / trades * 1e6)
    return min(taken)


def _asked(venue: Venue, dialect: Dialect) -> dict[str, Any]:
    """Return what the peer is to read, and what plain orjson is: the latter always in the form that we read."""
    ours = made(dialect, form_of(venue, dialect))
    theirs = made(dialect, PEER_READS[venue.name]) if venue.name in PEER_READS else ours
    specs = dialect.symbols(coins(COINS))
    return {"venue": venue.name, "market_type": venue.market_type,
            "symbols": [[one.base, one.quote, one.symbol] for one in specs], "trades": TRADES,
            "plain": [[one.decode() for one in frames] for frames in (ours.single, ours.together)],
            "frames": [[one.decode() for one in frames] for frames in (theirs.single, theirs.together)]}


def _ask_peer(asked: Sequence[dict[str, Any]], rounds: int) -> dict[str, dict[str, float]]:
    done = subprocess.run([peer.environment(), PEER, str(rounds)], input=json.dumps(asked), capture_output=True, text=True,
                          timeout=600, check=False)
    if done.returncode:
        raise BenchError(f"cryptofeed's parsers: {done.stderr[-2000:]}")
    answer: dict[str, dict[str, float]] = json.loads(done.stdout)
    return answer
