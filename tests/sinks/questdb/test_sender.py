"""The client's side of the sink: which row an answer blames, logins and certificates, and what the client must not do."""

from __future__ import annotations

import base64
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from pumpwatch_plugins.sinks.questdb import QuestDBOptions
from pumpwatch_plugins.sinks.questdb.http import Server
from pumpwatch_plugins.sinks.questdb.sender import TradeSender, blamed_row, reach_directly

from pumpwatch.errors import ConfigError, ServiceUnavailable
from tests.sinks.questdb.stores import CATALOGUE
from tests.trades import batch_of

REJECTION = ('Could not flush buffer: {"code":"invalid","message":"failed to parse line protocol:errors encountered on'
             ' line(s):\\nerror in line 3: table: t, column: price; cast error","line":3,"errorId":"e-1"}')


class WriteServer:
    """The HTTP side of a server that answers writes by a script. `requests` holds (method, path, Authorization, body)."""

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.requests: list[tuple[str, str, str, bytes]] = []
        self.answers: list[tuple[int, bytes]] = []  # to writes that bring lines; (204, b"") once it is empty
        self.first_answer = 204  # to writes without lines
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, self.headers.get("Authorization", ""), body))
                status, answer = 204, b""
                if self.command == "GET":
                    status, answer = 200, b'{"config":{"line.proto.support.versions":[1,2]}}'
                elif not body:
                    status = outer.first_answer
                elif outer.answers:
                    status, answer = outer.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> WriteServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[WriteServer]:
    with WriteServer() as made:
        yield made


def sender_to(options: QuestDBOptions) -> TradeSender:
    sender = TradeSender(options, Server(options), "trades")
    sender.open()
    return sender


SHOWN = ("Could not flush buffer: failed to parse line protocol:errors encountered on line(s):\nerror in line 3: table: t,"
         " column: price; cast error [id: e-1, code: invalid, line: 3]")


@pytest.mark.parametrize("error", [REJECTION, SHOWN])
def test_the_row_that_the_server_names_is_counted_from_0_and_has_its_reason(error: str) -> None:
    assert blamed_row(error) == (2, "error in line 3: table: t, column: price; cast error")


@pytest.mark.parametrize("error", ["timeout: per call", '{"message":"table is full"}', "{no json}", "", "a [id: e, code: x]"])
def test_an_answer_that_names_no_line_blames_no_row(error: str) -> None:
    assert blamed_row(error) is None


def test_a_rejected_batch_can_be_sent_again_with_the_same_bytes(server: WriteServer) -> None:
    sender, batch = sender_to(QuestDBOptions(addr=server.addr)), batch_of(20)
    server.answers = [(400, REJECTION.partition(": ")[2].encode()), (500, b'{"message":"disk full"}')]
    assert sender.send(batch, CATALOGUE) == (2, "error in line 3: table: t, column: price; cast error")
    with pytest.raises(ServiceUnavailable, match="disk full"):
        sender.send(batch, CATALOGUE)
    assert sender.send(batch, CATALOGUE) is None
    bodies = {body for method, _, _, body in server.requests if body}
    assert len(bodies) == 1
    assert len([body for *_, body in server.requests if body]) == 3, "the client itself does not try again"
    sender.close()


def test_rows_that_the_client_will_not_send_are_rejected_without_a_request(server: WriteServer) -> None:
    sender, batch = sender_to(QuestDBOptions(addr=server.addr)), batch_of(3)
    batch.timestamp[1] = -5
    row, reason = sender.send(batch, CATALOGUE) or (0, "")
    assert row == -1
    assert reason
    assert not [body for *_, body in server.requests if body]
    sender.close()


def test_the_login_goes_with_every_request_and_any_sign_is_kept(server: WriteServer) -> None:
    sender = sender_to(QuestDBOptions(addr=server.addr, user="tr;ader", password="a;b=ü'"))
    assert sender.send(batch_of(2), CATALOGUE) is None
    expected = "Basic " + base64.b64encode("tr;ader:a;b=ü'".encode()).decode()
    assert [login for method, _, login, body in server.requests if body] == [expected]
    sender.close()


def test_tls_trusts_the_configured_authority_and_no_other(tmp_path: Path) -> None:
    ours, another = trustme.CA(), trustme.CA()
    for name, authority in (("ours", ours), ("another", another)):
        authority.cert_pem.write_to_path(str(tmp_path / name))
    with WriteServer(ours.issue_cert("127.0.0.1")) as server:
        sender = sender_to(QuestDBOptions(addr=server.addr, tls=True, ca_file=str(tmp_path / "ours")))
        assert sender.send(batch_of(2), CATALOGUE) is None
        sender.close()
        with pytest.raises(ServiceUnavailable, match="certificate"):
            sender_to(QuestDBOptions(addr=server.addr, tls=True, ca_file=str(tmp_path / "another")))


@pytest.mark.parametrize(("status", "error"), [(401, ConfigError), (307, ServiceUnavailable), (302, ServiceUnavailable),
                                               (500, ServiceUnavailable)])
def test_a_server_that_does_not_take_writes_is_found_out_before_the_client_connects(
        server: WriteServer, status: int, error: type[Exception]) -> None:
    server.first_answer = status
    with pytest.raises(error):
        sender_to(QuestDBOptions(addr=server.addr))
    assert [method for method, *_ in server.requests] == ["POST"]


def test_sending_before_opening_is_unavailable() -> None:
    options = QuestDBOptions()
    with pytest.raises(ServiceUnavailable, match="not open"):
        TradeSender(options, Server(options), "trades").send(batch_of(1), CATALOGUE)


def test_the_client_is_kept_off_a_proxy_where_pumpwatch_goes_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    monkeypatch.setenv("no_proxy", "near.example.com")
    monkeypatch.setenv("NO_PROXY", "ignored.example.com")
    reach_directly("http://far.example.com:9000", "far.example.com")
    assert os.environ["NO_PROXY"] == "ignored.example.com", "this host is reached by the proxy"
    for _ in range(2):
        reach_directly("http://[::1]:9000", "[::1]")
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "near.example.com,::1"


def test_without_a_proxy_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    before = dict(os.environ)
    reach_directly("http://127.0.0.1:9000", "127.0.0.1")
    assert dict(os.environ) == before
