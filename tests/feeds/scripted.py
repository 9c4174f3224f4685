"""A venue's side of a feed, scripted: streams that answer as told and remember what was sent, a dialer, a sweep, a clock."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import numpy as np
from pumpwatch_plugins.exchanges.binance import VENUES
from websocket import ABNF

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import VenueConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.feed import Feed
from pumpwatch.feeds.rate_limits import ConnectLimit, VenueRateLimits
from pumpwatch.feeds.session import FeedContext
from pumpwatch.feeds.venue import Network, Process, VenueFeeds
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.model import Control, ControlKind, Gap
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.stream import StreamClosed
from pumpwatch.records import BESIDE, Records
from pumpwatch.stats import Stats
from pumpwatch.venue import HttpRequest, Venue

SPOT = VENUES[0]
WITHIN_S = 20.0


def quick(venue: Venue = SPOT, **facts: object) -> Venue:
    """Return a venue that may be connected to as often as a test wants."""
    limits = dataclasses.replace(venue.limits, connects_per_second=1000, connects_per_5_minutes=10**6, messages_per_second=1000)
    return dataclasses.replace(venue, **({"limits": limits} | facts))


def until(done: Callable[[], object]) -> None:
    """Let the feed run until this is true."""
    with gevent.Timeout(WITHIN_S):
        while not done():
            gevent.sleep(0.005)


class SteppedClock(Clock):
    """The machine's clocks, and steps on top, each clock on its own."""

    def __init__(self) -> None:
        self.wall_s = self.monotonic_s = 0.0

    def now_ns(self) -> int:
        return super().now_ns() + int(self.wall_s * NS_PER_S)

    def monotonic(self) -> float:
        return super().monotonic() + self.monotonic_s


class ScriptedStream:
    """Acknowledges every request but those `refuses` names; `push` puts bytes on their way to the client."""

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self.incoming = b""
        self.texts: list[str] = []
        self.pings = 0
        self.ended = self.closed = False
        self.answers_pings = True
        self.peer = f"192.0.2.{fileno}"

    def fileno(self) -> int:
        return self._fileno

    def receive(self, target: memoryview, at: int) -> int:
        if self.ended:
            raise StreamClosed("cut")
        data, self.incoming = self.incoming, b""
        target[at : at + len(data)] = data
        return at + len(data)

    def post(self, data: bytes) -> bool:
        for opcode, payload in unmasked(data):
            if opcode == ABNF.OPCODE_TEXT:
                self.texts.append(payload.decode())
            if opcode == ABNF.OPCODE_PING:
                self.pings += 1
                self.incoming += bytes([0x8A, len(payload)]) + payload if self.answers_pings else b""
        return True

    def close(self) -> None:
        self.closed = True


class ScriptedVenue:
    """The network, the venue and the ledger in one. answering: whether requests are answered; refuses(symbol): and how."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.clock, self.stats, self.records = SteppedClock(), Stats(), Records()
        self.streams: list[ScriptedStream] = []
        self.dialed: list[tuple[str, str]] = []  # address, and the configured one where a session named it
        self.avoided: list[str] = []  # the addresses that were to be avoided
        self.connections: list[Connection] = []  # those that are read
        self.drained: list[Connection] = []  # those that were read to their end
        self.refuses: Callable[[str], bool] = lambda symbol: False
        self.room = math.inf  # symbols that a connection holds
        self._held: dict[int, set[str]] = {}
        self.answering, self.failing = True, False
        self.buffer = FrameBuffer()
        self._answered: dict[int, int] = {}
        self._reading = gevent.spawn(self._read)

    # The dialer and the sweep, as feeds see them.

    def open(self, url: str, headers: object, configured: str = "", avoid: str = "") -> ScriptedStream:
        self.dialed.append((url, configured))
        self.avoided.append(avoid)
        if self.failing:
            raise ServiceUnavailable("nobody there")
        self.streams.append(ScriptedStream(len(self.streams)))
        return self.streams[-1]

    def add(self, connection: Connection) -> None:
        self.connections.append(connection)

    def remove(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    def drain(self, connection: Connection) -> None:
        self.drained.append(connection)
        if not connection.closed:
            connection.sweep(self.clock.now_ns())

    # The venue.

    def _read(self) -> None:
        while True:
            for connection in list(self.connections):
                if self.answering:
                    self._answer(connection)
                connection.sweep(self.clock.now_ns())
                self.buffer.take_frames()
                if connection.closed:
                    self.remove(connection)
            gevent.sleep(0.005)

    def _answer(self, connection: Connection) -> None:
        texts = connection.stream.texts
        start = self._answered.get(connection.stream.fileno(), 0)
        self._answered[connection.stream.fileno()] = len(texts)
        for text in texts[start:]:
            if not text.startswith("{"):
                continue
            request = json.loads(text)
            symbols = [name.split("@")[0].upper() for name in request["params"]]
            held = self._held.setdefault(connection.stream.fileno(), set())
            kind = ControlKind.REFUSAL if any(map(self.refuses, symbols)) else ControlKind.ACK
            if kind == ControlKind.ACK and request["method"] == "UNSUBSCRIBE":
                held.difference_update(symbols)
            elif kind == ControlKind.ACK and len(held.union(symbols)) > self.room:
                kind = ControlKind.FULL
            elif kind == ControlKind.ACK:
                held.update(symbols)
            connection.source.receive_control(Control(kind, request["id"], reason="no"))

    def say(self, control: Control, number: int = -1) -> None:
        """Let one connection (the newest) hear a control frame."""
        self.connections[number].source.receive_control(control)

    def ping(self) -> None:
        """Send a ping on every connection: bytes that are no trades."""
        for connection in self.connections:
            connection.stream.incoming += b"\x89\x00"

    def trade(self) -> None:
        """Let every connection have had a trade just now, as the pipeline says it."""
        self.ping()
        for connection in self.connections:
            connection.source.receive_trades(self.clock.now_ns(), self.clock.now_ns())

    def trade_often(self, looks: int) -> None:
        """Trade until the feed has seen it that often."""
        for _ in range(looks):
            self.trade()
            gevent.sleep(1.3 * self.venue.stale_after_s / 12)

    # What came of it.

    @property
    def events(self) -> list[str]:
        return [one.event for one in self.records.connection_events if one.event != BESIDE]

    @property
    def gaps(self) -> dict[int, Gap]:
        """Every gap by its beginning, as far as it has grown."""
        return {gap.from_ns: gap for gap in sorted(self.records.gaps, key=lambda gap: gap.to_ns)}

    def end(self) -> None:
        """End the venue; what a client opened it must have closed."""
        self._reading.kill()
        assert all(stream.closed for stream in self.streams) and not self.connections


class World(ScriptedVenue):
    """One feed and everything around it."""

    def __init__(self, venue: Venue | None = None, symbols: Iterable[str] = ("A", "B"), down_since_ns: int = 0,
                 began_ns: int = 0) -> None:
        super().__init__(venue or quick())
        self.refused: list[str] = []
        self.moved: list[str] = []
        context = FeedContext(self.venue, "ws://venue", self, self, self.buffer, ConnectLimit(self.venue.limits, self.clock),
                              lambda request: b"", self.clock, self.stats, 1 << 20, self.records.extend,
                              lambda number, symbol, reason: self.refused.append(symbol),
                              lambda number, symbols, reason: self.moved.extend(symbols))
        self.feed = Feed(context, 0, symbols, down_since_ns, began_ns)
        self._running = gevent.spawn(self.feed.run)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.stop()
        self._running.join(WITHIN_S)
        assert self._running.successful()
        self.end()

    def overlap(self) -> None:
        """Let both connections trade, and the time pass that they are read side by side."""
        until(lambda: len(self.connections) == 2 and self.feed._hand_over.established)
        self.trade()
        self.clock.monotonic_s += 2.5

    def wait_up(self) -> None:
        until(lambda: self.feed.up and self.events and self.events[-1] in ("up", "renewed"))


class VenueWorld(ScriptedVenue):
    """A venue's feeds, and its instrument list: the symbols in `listed`."""

    def __init__(self, listed: Iterable[str], venue: Venue | None = None, down_since_ns: int = 0,
                 symbols_file: SymbolsFile | None = None, refresh_s: float = 0.05, slices: int = 0, **config: object) -> None:
        super().__init__(venue or quick())
        self.listed, self.asked = set(listed), 0
        self.answer: bytes | ServiceUnavailable | None = None  # instead of the list
        self.volumes: dict[str, float] = {}
        self.volumes_hang = self.lists_hang = False
        self.heard: dict[str, int] = {}  # symbol -> time of the last trade that reached us, ns
        self.history: dict[str, list[int]] = {}  # symbol -> times of the trades that REST has, ns
        self.looked_up: list[str] = []  # whose history was asked for
        self.resumed: list[int] = []  # the instruments that another collector may have read meanwhile
        self.catalogue, self.symbols = Catalogue(), symbols_file or SymbolsFile("")
        network = Network(self, self, self, VenueRateLimits(self.clock), 1 << 20)
        process = Process(self.clock, self.stats, self.catalogue, self.symbols, self.records.extend, self.spawn,
                          self.last_times, refresh_s, self.resumed.extend)
        self.feeds = VenueFeeds(self.venue, VenueConfig(**config), self.buffer, down_since_ns, network, process, slices)
        self._running: list[gevent.Greenlet] = []
        self.spawned: list[str] = []
        self.spawn("venue", self.feeds.run)
        self.spawn("silence", self.feeds.silence.run)

    def __enter__(self) -> VenueWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.feeds.stop()
        gevent.joinall(self._running, WITHIN_S)
        assert all(one.successful() for one in self._running)
        self.end()

    def spawn(self, name: str, body: Callable[[], None]) -> None:
        self.spawned.append(name)
        self._running.append(gevent.spawn(body))

    def ask(self, base_url: str, request: HttpRequest, headers: object, budget: object) -> bytes:
        """Answer the request for instruments, volumes, or the history of a symbol, as Http does."""
        if "symbol" in request.params:
            return self._history(str(request.params["symbol"]))
        if self.venue.volumes and request == self.venue.volumes.request:
            while self.volumes_hang:
                gevent.sleep(0.05)
            return json.dumps([{"symbol": symbol, "quoteVolume": volume} for symbol, volume in self.volumes.items()]).encode()
        self.asked += 1
        while self.lists_hang:
            gevent.sleep(0.05)
        if isinstance(self.answer, ServiceUnavailable):
            raise self.answer
        if self.answer is not None:
            return self.answer
        if not self.listed:
            raise ServiceUnavailable("HTTP 500")
        return json.dumps({"symbols": [{"symbol": symbol, "status": "TRADING", "baseAsset": symbol, "quoteAsset": "USDT"}
                                       for symbol in sorted(self.listed)]}).encode()

    def _history(self, symbol: str) -> bytes:
        self.looked_up.append(symbol)
        if symbol not in self.history:
            raise ServiceUnavailable("HTTP 500")
        return json.dumps([{"id": number, "price": "1", "qty": "1", "time": at_ns // 10**6, "isBuyerMaker": False}
                           for number, at_ns in enumerate(self.history[symbol])]).encode()

    def last_times(self, instruments: Iterable[int]) -> Any:
        """Return the time of each instrument's last trade."""
        return np.array([self.heard.get(self.catalogue.instruments[one].symbol, 0) for one in instruments], np.int64)

    def refresh(self, times: int = 1) -> None:
        """Wait until the list was asked for again, and dealt with."""
        before = self.asked
        until(lambda: self.asked > before + times)


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """Return (opcode, payload) of each frame a client sent."""
    frames = []
    while data:
        opcode, length, at = data[0] & 15, data[1] & 127, 2
        if length == 126:
            (length,), at = struct.unpack(">H", data[2:4]), 4
        key, payload = data[at : at + 4], data[at + 4 : at + 4 + length]
        frames.append((opcode, bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))))
        data = data[at + 4 + length :]
    return frames


def subscribed(world: VenueWorld) -> set[str]:
    return {symbol for feed in world.feeds.feeds for symbol in feed.granted}


def gaps_of(world: VenueWorld, symbol: str) -> list[Gap]:
    """Return a symbol's own gaps as far as they have grown."""
    return [gap for gap in world.gaps.values() if gap.symbol == symbol]
