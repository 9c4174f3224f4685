"""The simulated venues as one process: listeners, pacing, limits, commands.

`main` is what `pumpwatch simulate` and `python -m pumpwatch.sim` run. Each venue and each notice board has a port of
its own, as real ones have hosts of their own; one more port takes commands (`/sim/...`). All of it is TLS, with the
certificate authority in `ca_file`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import ssl
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent import monkey, socket
from gevent.event import Event
from gevent.server import StreamServer

from pumpwatch.clock import Clock
from pumpwatch.config import Config, PluginsConfig, convert
from pumpwatch.errors import EXIT_OK, ConfigError, PumpWatchError
from pumpwatch.sim import control, wire
from pumpwatch.sim.burst import BurstSource
from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.client_limits import Callers
from pumpwatch.sim.dialect import BoardDialect, Coin, Dialect, HttpReply
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.market import SimulatedMarket, coins, spread
from pumpwatch.sim.notice_board import Board
from pumpwatch.sim.options import SimOptions
from pumpwatch.sim.paced import PacedSource
from pumpwatch.sim.rows import SymbolTable
from pumpwatch.sim.source import LiveSource, Source
from pumpwatch.sim.tape import TapeSource, tape_specs
from pumpwatch.sim.tls import ServerTlsStream, make_certificates
from pumpwatch.sim.venue import SimVenue

log = logging.getLogger(__name__)
JANITOR_S = 0.25
SETTLE_S = 5.0
SLEEP = monkey.get_original("time", "sleep")
LONGEST_TURN_S = 0.005  # without a turn of the event loop, which reads what clients send
MODES = ("live", "burst", "paced", "tape")


class Simulation:
    """All venues, boards and the clock that drives them."""

    def __init__(self, options: SimOptions, dialects: list[Dialect | BoardDialect]) -> None:
        self.options = options
        self.clock = Clock()
        self.folder = Path(options.folder)
        chosen = [one for one in dialects if isinstance(one, Dialect) and one.name in (options.venues or [one.name])]
        missing = set(options.venues) - {one.name for one in chosen}
        if missing or not chosen:
            raise ConfigError(f"no simulator plugin speaks as {', '.join(sorted(missing)) or 'any venue'}",
                              f"known: {', '.join(one.name for one in dialects)}")
        if options.mode not in MODES:
            raise ConfigError(f"simulation: no mode `{options.mode}`", f"known: {', '.join(MODES)}")
        listed = spread(options.roster, [one.listed for one in chosen]) if options.roster else []
        self.coins = _coins(max(listed, default=0) or options.symbols)
        tables = [self._table(dialect, count) for dialect, count in zip_longest(chosen, listed)]
        names = [(dialect.name, table.symbols) for dialect, table in zip(chosen, tables, strict=True)]
        self.truth = TruthWriter(self.folder if options.truth else None, names, {"seed": options.seed})
        self._callers: dict[str, Callers] = {}
        self.venues = {dialect.name: self._venue(number, dialect, tables[number])
                       for number, dialect in enumerate(chosen)}
        self.boards = {one.name: Board(one, self.clock, self.truth, options.seed)
                       for one in dialects if isinstance(one, BoardDialect)}
        for board in self.boards.values():
            board.posts = list(board.dialect.seed(self.clock.now_ns(), self.coins))
        self.sources = [self._source(venue) for venue in self.venues.values()]
        self.stopping = Event()
        self.running = False
        self.traded_s = self.late_s = 0.0
        self._connections = 0
        self._turn_at = 0.0  # when the event loop last had a turn
        self._servers: dict[str, StreamServer] = {}
        self._due: list[tuple[float, Callable[[], Any]]] = control.plan(self)

    def _venue(self, number: int, dialect: Dialect, table: SymbolTable) -> SimVenue:
        options = self.options
        try:
            rules = dataclasses.replace(dialect.rules, **options.rules.get(dialect.name, {}))
        except TypeError as error:
            raise ConfigError(f"rules of {dialect.name}: {error}") from error
        shares = options.flag_shares.get(dialect.name)
        flags = dialect.flag_shares if shares is None else {int(flag): share for flag, share in shares.items()}
        market = SimulatedMarket(table, [options.seed, number], first_id=dialect.first_id, unit_ns=dialect.timestamp_unit_ns,
                        flag_shares=flags)
        counted = dialect.exchange if rules.shared_by_markets else dialect.name
        callers = self._callers.setdefault(counted, Callers(self.clock))
        return SimVenue(number, dialect, rules, table, market, self.truth, self.clock, callers,
                        history_trades=options.history_trades, backlog_bytes=options.backlog_bytes)

    def _table(self, dialect: Dialect, count: int | None) -> SymbolTable:
        if self.options.mode == "tape":
            return SymbolTable(tape_specs(dialect, self.options.tape.files.get(dialect.name, [])))
        return SymbolTable(dialect.symbols(self.coins[:count]))

    def _source(self, venue: SimVenue) -> Source:
        shares = self.options.shares
        rate = self.options.rate * shares.get(venue.name, 1 / len(self.venues) if not shares else 0.0)
        if self.options.mode in ("burst", "paced") and venue.dialect.stamps:
            make = PacedSource if self.options.mode == "paced" else BurstSource
            return make(venue, rate, self.options.lap_trades // len(self.venues))
        if self.options.mode == "tape":
            return TapeSource(venue, self.options.tape)
        return LiveSource(venue, rate)

    def listen(self) -> dict[str, Any]:
        """Open all ports; return the addresses."""
        context, ca_file = make_certificates(self.folder)
        homes: list[tuple[str, Any]] = [*self.venues.items(), *self.boards.items(), ("control", None)]
        for name, home in homes:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.options.host, self.options.ports.get(name, 0)))
            listener.listen(1024)
            server = StreamServer(listener, partial(self._accept, context, home))
            server.start()
            self._servers[name] = server
        ports = {name: int(server.server_port or 0) for name, server in self._servers.items()}
        return control.addresses(self, ports, ca_file)

    def run(self) -> None:
        """Trade until stopped; then settle everything."""
        janitor = gevent.spawn(self._janitor)
        self.running = not self.options.paused
        try:
            self._trade()
        finally:
            janitor.kill()
            for server in self._servers.values():
                server.stop(timeout=0)
            for venue in self.venues.values():
                for link in list(venue.links.values()):
                    link.drop("simulation ended")
            self.truth.close()

    def _trade(self) -> None:
        tick = self.options.tick_ms / 1000
        last, last_ns = self.clock.monotonic(), self.clock.now_ns()
        following = last + tick
        trading = False
        while not self.stopping.is_set():
            self._wait(following)
            now, now_ns = self.clock.monotonic(), self.clock.now_ns()
            late = now - following
            following = max(following + tick, now)
            seconds, from_ns, last, last_ns = now - last, last_ns, now, now_ns
            if not self.running or not trading:
                trading = self.running
                continue
            self.late_s = max(self.late_s, late)
            limit = self.options.seconds
            if limit:
                seconds = min(seconds, limit - self.traded_s)
            self.traded_s += seconds
            while self._due and self._due[0][0] <= self.traded_s:
                self._due.pop(0)[1]()
            for source in self.sources:
                source.advance(seconds, from_ns, now_ns)
            if 0 < limit <= self.traded_s or all(source.finished() for source in self.sources):
                self.pause()

    def _wait(self, until: float) -> None:
        """Sleep until a moment. Frames that leave one by one need a sharper sleep than the event loop's, between its turns."""
        now = self.clock.monotonic()
        if self.options.mode == "paced" and self.running and now - self._turn_at < LONGEST_TURN_S:
            SLEEP(max(until - now, 0.0))
            return
        gevent.sleep(max(until - now, 0.0001))
        self._turn_at = self.clock.monotonic()

    def pause(self) -> None:
        """Stop trading; connections stand and pings go on."""
        self.running = False
        self.truth.flush()
        self.truth.event("paused")

    def _janitor(self) -> None:
        """Keep the rules that are about time, and write the truth."""
        flushed = 0.0
        while True:
            gevent.sleep(JANITOR_S)
            now = self.clock.monotonic()
            for venue in self.venues.values():
                for link in list(venue.links.values()):
                    _look_after(link, now)
            if now - flushed >= 1.0:
                self.truth.flush()
                flushed = now

    def _accept(self, context: ssl.SSLContext, home: SimVenue | Board | None, sock: Any, peer: Any) -> None:
        stream = ServerTlsStream(sock.detach(), context, str(peer[0]), self.options.send_buffer_bytes)
        left = bytearray()
        try:
            while isinstance(home, SimVenue) and (refusal := home.refusal()) in ("down", "hang"):
                if refusal == "down":
                    return
                gevent.sleep(JANITOR_S)
            if not stream.handshake():
                return
            while (request := wire.read_request(stream.read, left)) is not None:
                if request.is_upgrade and isinstance(home, SimVenue):
                    if self._upgrade(stream, request, home, bytes(left)):
                        return
                    break
                reply = self._rest(request, home, stream.peer)
                keep = request.headers.get("connection", "").lower() != "close"
                stream.write(wire.answer(reply, keep=keep))
                stream.flush()
                if not keep:
                    break
        except wire.ProtocolError as error:
            stream.write(wire.answer(HttpReply(error.code, str(error).encode()), keep=False))
            stream.flush()
        finally:
            stream.close()

    def _upgrade(self, stream: ServerTlsStream, request: wire.ClientRequest, venue: SimVenue, left: bytes) -> bool:
        self._connections += 1
        outcome = venue.connect(stream, request, self._connections)
        if isinstance(outcome, ClientConnection):
            outcome.serve(left)
            return True
        stream.write(wire.answer(outcome, keep=False))
        stream.flush()
        return False

    def _rest(self, request: wire.ClientRequest, home: SimVenue | Board | None, peer: str) -> HttpReply:
        if home is not None:
            return home.rest(request, peer)
        try:
            body = control.command(self, request.path, json.loads(request.body or b"{}"))
            return HttpReply(200, json.dumps(body, ensure_ascii=False).encode())
        except (PumpWatchError, ValueError) as error:
            return HttpReply(400, json.dumps({"error": str(error)}, ensure_ascii=False).encode())


def _look_after(link: ClientConnection, now: float) -> None:
    rules = link.venue.rules
    if 0 < link.closing_by < now:
        link.drop("close unanswered")
    elif link.ping_due and 0 < rules.pong_within_s < now - link.ping_due:
        link.drop("no pong")
    elif 0 < rules.client_silence_s < now - link.heard:
        link.drop("client silent")
    elif 0 < rules.connection_age_s < now - link.opened:
        link.drop("too old")
    elif 0 < rules.ping_every_s < now - link.pinged and not link.closing_by:
        link.ping()


def _coins(wanted: int | list[str]) -> list[Coin]:
    if isinstance(wanted, int):
        return coins(wanted)
    known = {coin.name: coin for coin in coins(1000)}
    return [known.get(name) or Coin(name, 1.0, name) for name in wanted]


def load_dialects(plugin_folder: str = "") -> list[Dialect | BoardDialect]:
    """Return every dialect that the plugins offer."""
    from pumpwatch.plugins import load_plugins

    return list(load_plugins(Config(plugins=PluginsConfig(folder=plugin_folder))).dialects)


def config_yaml(addresses: dict[str, Any]) -> str:
    """Return the config that points a collector at a simulation's addresses."""
    return control.config_yaml(addresses)


def _end_with_trading(simulation: Simulation) -> None:
    """Stop the simulation when its time of trading is over and what was sent has left, or after SETTLE_S."""
    while simulation.traded_s < simulation.options.seconds:
        gevent.sleep(JANITOR_S)
    deadline = simulation.clock.monotonic() + SETTLE_S
    links = [link for venue in simulation.venues.values() for link in venue.links.values()]
    while any(link.stream.queued for link in links) and simulation.clock.monotonic() < deadline:
        gevent.sleep(JANITOR_S)
    simulation.stopping.set()


def main(options: SimOptions | None = None, *, stdin_commands: bool = False, end_with_trading: bool = False,
         show: Callable[[str], None] | None = None, **keywords: Any) -> int:
    """Run simulated venues until SIGTERM, SIGINT, the command `stop` or, with stdin_commands, the end of stdin.

    options, or the fields of SimOptions as keywords: venues, symbols, rate, seed, seconds, mode, paused, folder, truth,
    host, ports, tick_ms, shares, rules, listings, faults, tape, ... As soon as everything listens, `show` gets one line
    of JSON: `venues` (name -> ws_url, rest_url), `boards` (name -> url), `control`, `ca_file`, `folder`, `coins`,
    `pid` (default: printed to stdout). stdin_commands: a line `{"do": "fault", ...}` does what a POST to `/sim/fault`
    does.
    end_with_trading: after `seconds` it ends; else it pauses and can be resumed.
    Without `folder` it is a temporary one, removed at the end.
    Returns an exit code; raises ConfigError for options that cannot be meant.
    """
    chosen = options or convert(keywords, SimOptions, "simulation")
    with tempfile.TemporaryDirectory(prefix="pumpwatch-sim-") if not chosen.folder else nullcontext(chosen.folder) as folder:
        simulation = Simulation(msgspec.structs.replace(chosen, folder=folder), load_dialects(chosen.plugin_folder))
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, simulation.stopping.set)
        line = json.dumps(simulation.listen(), ensure_ascii=False)
        (show or _print)(line)
        if stdin_commands:
            gevent.spawn(control.read_commands, simulation, sys.stdin)
        if end_with_trading and chosen.seconds:
            gevent.spawn(_end_with_trading, simulation)
        simulation.run()
    return EXIT_OK


def _print(line: str) -> None:
    print(line, flush=True)
