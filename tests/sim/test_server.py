"""The server opens a TLS port for each venue, each board and the commands."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
import pytest

from pumpwatch.sim.options import SimOptions
from pumpwatch.sim.server import SimServer, load_dialects
from pumpwatch.sim.simulation import Simulation
from tests.sim.fakes import BOARD, DIALECT


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[dict[str, Any]]:
    simulation = Simulation(SimOptions(folder=str(tmp_path), symbols=2), [DIALECT, BOARD])
    server = SimServer(simulation)
    yield server.listen()
    server.stop()
    simulation.close()


def exchange(addresses: dict[str, Any], url: str, request: str) -> bytes:
    """Send a request in a thread, whose blocking calls leave the server's greenlets running; return all that comes back."""

    def talk() -> bytes:
        tls, at = ssl.create_default_context(cafile=addresses["ca_file"]), urlsplit(url)
        with socket.create_connection((at.hostname or "", at.port or 0), 20) as raw:
            with tls.wrap_socket(raw, server_hostname=at.hostname) as connection:
                connection.sendall(request.format(path=at.path, host=at.netloc).replace("\n", "\r\n").encode("latin-1"))
                received = b""
                while data := connection.recv(65_536):
                    received += data
                return received

    answer: bytes = gevent.get_hub().threadpool.apply(talk)
    return answer


GET = "GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n"
UPGRADE = ("GET {path} HTTP/1.1\nHost: {host}\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n\x88\x80\0\0\0\0")


def test_venues_boards_and_commands_answer_on_their_ports(addresses: dict[str, Any]) -> None:
    assert addresses["coins"] == ["BTC", "ETH"] and set(addresses["venues"]) == {"fake.spot"}
    rest_url, board_url = addresses["venues"]["fake.spot"]["rest_url"], addresses["boards"]["board"]["url"]
    for url, body in ((rest_url, ["BTC", "ETH"]), (board_url, ["old"])):
        head, _, received = exchange(addresses, url, GET).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK") and json.loads(received) == body
    head, _, received = exchange(addresses, addresses["control"] + "/status", GET).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and json.loads(received)["running"] is False


def test_a_websocket_is_opened_and_closed_in_order(addresses: dict[str, Any]) -> None:
    received = exchange(addresses, addresses["venues"]["fake.spot"]["ws_url"], UPGRADE)
    head, _, frames = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head and frames == b"\x88\x00"


@pytest.mark.parametrize(("request_text", "status"), [
    ("nonsense\n\n", b"400"), (UPGRADE.replace("13", "8"), b"400"), (GET.replace("{path}", "/sim/dance"), b"400")])
def test_a_request_that_is_invalid_is_answered_so(addresses: dict[str, Any], request_text: str, status: bytes) -> None:
    url = addresses["control"] if "dance" in request_text else addresses["venues"]["fake.spot"]["ws_url"]
    assert exchange(addresses, url, request_text).startswith(b"HTTP/1.1 " + status)


def test_the_dialects_are_those_of_the_plugins() -> None:
    assert {"binance.spot", "upbit"} <= {dialect.name for dialect in load_dialects()}
