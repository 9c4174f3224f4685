"""The simulated venues as one process: listeners, TLS, HTTP and WebSocket handshakes.

`pumpwatch simulate` and `python -m pumpwatch.sim` run `main`. Each venue and each notice board has its own port, as the real ones
have their own hosts; one more port accepts commands (`/sim/...`). Everything is TLS, with the certificate authority in `ca_file`.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent import socket
from gevent.server import StreamServer

from pumpwatch.config import Config, PluginsConfig
from pumpwatch.config_errors import convert
from pumpwatch.errors import EXIT_OK, PumpWatchError
from pumpwatch.sim import control, wire
from pumpwatch.sim.board_dialect import BoardDialect
from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.dialect import Dialect
from pumpwatch.sim.http_messages import HttpReply
from pumpwatch.sim.notice_board import NoticeBoard
from pumpwatch.sim.options import SimOptions
from pumpwatch.sim.simulation import JANITOR_S, Simulation
from pumpwatch.sim.tls import ServerTlsStream, make_certificates
from pumpwatch.sim.venue import SimVenue

CONTROL = "control"


class SimServer:
    """The listeners of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._connections = 0
        self._listeners: dict[str, StreamServer] = {}

    def listen(self) -> dict[str, Any]:
        """Open all ports; return the addresses as `main` prints them."""
        simulation = self._simulation
        context, ca_file = make_certificates(simulation.folder)
        hosts: list[tuple[str, SimVenue | NoticeBoard | None]] = [
            *simulation.venues.items(), *simulation.boards.items(), (CONTROL, None)]
        for name, host in hosts:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((simulation.options.host, simulation.options.ports.get(name, 0)))
            listener.listen(1024)
            server = StreamServer(listener, partial(self._accept, context, host))
            server.start()
            self._listeners[name] = server
        return self._addresses(ca_file)

    def stop(self) -> None:
        """Close all ports; connections stay open."""
        for server in self._listeners.values():
            server.stop(timeout=0)

    def _addresses(self, ca_file: Path) -> dict[str, Any]:
        simulation = self._simulation
        at = {name: f"{simulation.options.host}:{server.server_port}" for name, server in self._listeners.items()}
        venues = {name: {"ws_url": f"wss://{at[name]}{venue.dialect.ws_path}",
                         "rest_url": f"https://{at[name]}{venue.dialect.rest_path}"}
                  for name, venue in simulation.venues.items()}
        boards: dict[str, dict[str, Any]] = {
            name: {"url": f"https://{at[name]}{board.dialect.url_path}"} for name, board in simulation.boards.items()}
        for name, board in simulation.boards.items():
            if (push := board.dialect.push) is not None:
                boards[push.name] = {"url": f"wss://{at[name]}{push.path}", "options": dict(push.options)}
        return {"venues": venues, "boards": boards, "control": f"https://{at[CONTROL]}/sim", "ca_file": str(ca_file),
                "folder": str(simulation.folder), "pid": os.getpid(), "coins": [coin.name for coin in simulation.coins]}

    def _accept(self, context: ssl.SSLContext, host: SimVenue | NoticeBoard | None, sock: Any, peer: Any) -> None:
        """Serve one TCP connection. host: the owner of its port, None for commands."""
        stream = ServerTlsStream(sock.detach(), context, str(peer[0]), self._simulation.options.send_buffer_bytes)
        received = bytearray()  # beyond the last request
        try:
            while isinstance(host, SimVenue) and (refusal := host.refusal()) in ("down", "hang"):
                if refusal == "down":
                    return
                gevent.sleep(JANITOR_S)
            if not stream.handshake():
                return
            while (request := wire.read_request(stream.read, received)) is not None:
                if request.is_upgrade and isinstance(host, SimVenue):
                    if self._upgrade(stream, request, host, bytes(received)):
                        return
                    break
                if request.is_upgrade and isinstance(host, NoticeBoard) and host.push is not None:
                    host.push.accept(stream, request, bytes(received))
                    return
                reply = self._rest(request, host, stream.peer)
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

    def _upgrade(self, stream: ServerTlsStream, request: wire.ClientRequest, venue: SimVenue, received: bytes) -> bool:
        self._connections += 1
        outcome = venue.connect(stream, request, self._connections)
        if isinstance(outcome, ClientConnection):
            outcome.serve(received)
            return True
        stream.write(wire.answer(outcome, keep=False))
        stream.flush()
        return False

    def _rest(self, request: wire.ClientRequest, host: SimVenue | NoticeBoard | None, peer: str) -> HttpReply:
        if host is not None:
            return host.rest(request, peer)
        try:
            body = control.run_command(self._simulation, request.path, json.loads(request.body or b"{}"))
            return HttpReply(200, json.dumps(body, ensure_ascii=False).encode())
        except (PumpWatchError, ValueError, TypeError) as error:
            return HttpReply(400, json.dumps({"error": str(error)}, ensure_ascii=False).encode())


def load_dialects(plugin_folder: str = "") -> list[Dialect | BoardDialect]:
    """Return every dialect that the plugins offer."""
    from pumpwatch.plugins import load_plugins

    return list(load_plugins(Config(plugins=PluginsConfig(folder=plugin_folder))).dialects)


def main(options: SimOptions | None = None, *, stdin_commands: bool = False, end_with_trading: bool = False,
         show: Callable[[str], None] | None = None, **keywords: Any) -> int:
    """Run simulated venues until SIGTERM, SIGINT, the command `stop` or, with stdin_commands, the end of stdin.

    Give options, or the fields of SimOptions as keywords: venues, symbols, rate, seed, seconds, mode, ... As soon as
    everything listens, `show` gets one line of JSON: `venues` (name -> ws_url, rest_url), `boards` (name -> url),
    `control`, `ca_file`, `folder`, `coins`, `pid` (default: it is printed to stdout).

    stdin_commands: a line `{"do": "fault", ...}` works like a POST to `/sim/fault`. end_with_trading: the simulation ends after
    `seconds`; otherwise it pauses then and can be resumed. Without `folder` a temporary one is used and removed at the end.
    Returns an exit code; raises ConfigError for invalid options.
    """
    chosen = options or convert(keywords, SimOptions, "simulation")
    with tempfile.TemporaryDirectory(prefix="pumpwatch-sim-") if not chosen.folder else nullcontext(chosen.folder) as folder:
        simulation = Simulation(msgspec.structs.replace(chosen, folder=folder), load_dialects(chosen.plugin_folder))
        simulation.planned = control.plan(simulation)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, simulation.stopping.set)
        server = SimServer(simulation)
        line = json.dumps(server.listen(), ensure_ascii=False)
        (show or _print)(line)
        if stdin_commands:
            gevent.spawn(control.read_commands, simulation, sys.stdin)
        if end_with_trading and chosen.seconds:
            gevent.spawn(simulation.stop_after_trading)
        try:
            simulation.run()
        finally:
            server.stop()
            simulation.close()
    return EXIT_OK


def _print(line: str) -> None:
    print(line, flush=True)
