"""Two clients that are not ours: websocket-client, and wsproto over a TLS socket; and REST."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import websocket
import wsproto
from wsproto import events

from pumpwatch.sim.process import SimProcess

TIMEOUT_S = 20
GONE = (websocket.WebSocketException, ConnectionError, ssl.SSLError)
_opened: list[Callable[[], None]] = []


@pytest.fixture(autouse=True)
def connections_end() -> Iterator[None]:
    """Close what a test opened and has not closed."""
    yield
    while _opened:
        _opened.pop()()


def connect(sim: SimProcess, venue: str, path: str = "", timeout_s: float = TIMEOUT_S,
            headers: dict[str, str] | None = None) -> websocket.WebSocket:
    """Open a connection by websocket-client; path replaces that of the venue's address."""
    url = sim.addresses["venues"][venue]["ws_url"]
    if path:
        url = "wss://" + urlsplit(url).netloc + path
    opened: websocket.WebSocket = websocket.create_connection(
        url, header=headers, sslopt={"ca_certs": sim.addresses["ca_file"]}, timeout=timeout_s)
    _opened.append(opened.shutdown)
    return opened


def subscribe(connection: websocket.WebSocket, *streams: str, number: int = 1) -> list[dict[str, Any]]:
    """Subscribe and return the frames up to the acknowledgement, it included."""
    connection.send(json.dumps({"method": "SUBSCRIBE", "params": list(streams), "id": number}))
    frames = []
    while True:
        frames.append(json.loads(connection.recv()))
        if frames[-1].get("id") == number:
            return frames


def receive(connection: websocket.WebSocket, count: int) -> list[dict[str, Any]]:
    """Return the next frames, decoded."""
    return [json.loads(connection.recv()) for _ in range(count)]


def closed_with(connection: websocket.WebSocket) -> tuple[int, str]:
    """Read until the venue closes; return code and reason."""
    while True:
        opcode, data = connection.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big"), data[2:].decode()


def drained(connection: websocket.WebSocket, wait_s: float = TIMEOUT_S) -> list[tuple[int, bytes]]:
    """Read until the connection ends or nothing comes for `wait_s`; return opcodes and payloads."""
    connection.settimeout(wait_s)
    found = []
    try:
        while True:
            found.append(connection.recv_data(control_frame=True))
    except GONE:
        return found


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(sim: SimProcess, url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
    """Make a request; refusals are answers too."""
    tls = ssl.create_default_context(cafile=sim.addresses["ca_file"])
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=tls) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


class PlainClient:
    """wsproto on a TLS socket: sees every event, answers nothing by itself."""

    def __init__(self, sim: SimProcess, venue: str) -> None:
        at = urlsplit(sim.addresses["venues"][venue]["ws_url"])
        tls = ssl.create_default_context(cafile=sim.addresses["ca_file"])
        raw = socket.create_connection((at.hostname or "", at.port or 0), TIMEOUT_S)
        self.socket = tls.wrap_socket(raw, server_hostname=at.hostname)
        _opened.append(self.socket.close)
        self.protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.send(events.Request(host=at.netloc, target=at.path))
        self.seen: list[events.Event] = []
        assert isinstance(self.next(), events.AcceptConnection)

    def send(self, event: events.Event) -> None:
        """Send an event."""
        self.socket.sendall(self.protocol.send(event))

    def next(self) -> events.Event | None:
        """Return the next event, None at the end of the connection."""
        while not self.seen:
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.protocol.receive_data(data)
            self.seen = list(self.protocol.events())
        return self.seen.pop(0)

    def close(self) -> None:
        """Let go of the socket."""
        self.socket.close()
