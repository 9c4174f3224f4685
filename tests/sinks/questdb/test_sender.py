"""Sending trades: which row an answer blames, logins and certificates, redirects, and a server that hangs."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from pumpwatch_plugins.sinks.questdb import QuestDBOptions
from pumpwatch_plugins.sinks.questdb.http import UNREACHABLE, Reply, Server
from pumpwatch_plugins.sinks.questdb.sender import TradeSender, blamed_row

from pumpwatch.errors import ConfigError, ServiceUnavailable
from tests.sinks.stores import CATALOGUE
from tests.sinks.stub_server import StubServer
from tests.trades import batch_of

REJECTION = (b'{"code":"invalid","message":"failed to parse line protocol:errors encountered on line(s):\\nerror in line 3:'
             b' table: t, column: price; cast error","line":3,"errorId":"e-1"}')
SETTINGS = b'{"config":{"release.type":"OSS","line.proto.support.versions":[1,2,3]},"preferences":{}}'


class WriteServer:
    """The HTTP side of a server that answers by a script.

    `requests` holds (method, path, Authorization, body), `connections` how many were made, `location` the aim of redirects.
    A write whose status is 0 gets no answer before the server ends.
    """

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.requests: list[tuple[str, str, str, bytes]] = []
        self.answers: list[tuple[int, bytes]] = []  # to writes; (204, b"") once it is empty
        self.settings = 200, SETTINGS
        self.location, self.connections = "", 0
        self._ending = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, self.headers.get("Authorization", ""), body))
                status, answer = outer.settings
                if self.command == "POST":
                    status, answer = outer.answers.pop(0) if outer.answers else (204, b"")
                if not status:
                    outer._ending.wait()
                    self.close_connection = True
                    return
                self.send_response(status)
                if outer.location and 300 <= status < 400:
                    self.send_header("Location", outer.location)
                if status != 204:
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
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[WriteServer]:
    with WriteServer() as made:
        yield made


@pytest.fixture
def elsewhere() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


def sender_to(options: QuestDBOptions) -> TradeSender:
    sender = TradeSender(Server(options), "trades")
    sender.open()
    return sender


def test_the_row_that_the_server_names_is_counted_from_0_and_has_its_reason() -> None:
    assert blamed_row(Reply(400, REJECTION)) == (2, "error in line 3: table: t, column: price; cast error")


@pytest.mark.parametrize(("status", "body"), [(400, b'{"message":"table is full"}'), (400, b"{no json}"), (400, b""),
                                              (400, b'{"line":"x"}'), (500, REJECTION), (200, REJECTION)])
def test_an_answer_that_rejects_no_line_blames_no_row(status: int, body: bytes) -> None:
    assert blamed_row(Reply(status, body)) is None


def test_rows_go_to_write_with_times_in_nanoseconds_on_one_connection(server: WriteServer) -> None:
    sender = sender_to(QuestDBOptions(addr=server.addr))
    before = server.connections
    for _ in range(3):
        assert sender.send(batch_of(5), CATALOGUE) is None
    asked = [f"{method} {path}" for method, path, *_ in server.requests]
    assert asked == ["GET /settings", *["POST /write?precision=n"] * 3]
    assert server.connections == before + 1
    assert server.requests[-1][3].count(b"\n") == 5
    sender.close()


def test_a_rejected_batch_can_be_sent_again_with_the_same_bytes(server: WriteServer) -> None:
    sender, batch = sender_to(QuestDBOptions(addr=server.addr)), batch_of(20)
    server.answers = [(400, REJECTION), (500, b'{"message":"disk full"}')]
    assert sender.send(batch, CATALOGUE) == (2, "error in line 3: table: t, column: price; cast error")
    with pytest.raises(ServiceUnavailable, match="disk full"):
        sender.send(batch, CATALOGUE)
    assert sender.send(batch, CATALOGUE) is None
    bodies = [body for method, *_, body in server.requests if method == "POST"]
    assert len(bodies) == 3, "nothing is sent twice by itself"
    assert len(set(bodies)) == 1
    sender.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_a_write_is_not_followed_and_the_next_write_works(
        server: WriteServer, elsewhere: StubServer, status: int) -> None:
    sender = sender_to(QuestDBOptions(addr=server.addr))
    assert sender.send(batch_of(2), CATALOGUE) is None
    server.location = f"http://{elsewhere.addr}/write"
    server.answers = [(status, b"")]
    with pytest.raises(ServiceUnavailable, match=f"redirect .HTTP {status}. to 'http://{elsewhere.addr}/write'") as error:
        sender.send(batch_of(2), CATALOGUE)
    assert "sinks.questdb.addr" in error.value.hint
    assert sender.send(batch_of(2), CATALOGUE) is None, "the server was repaired"
    assert elsewhere.asked == 0
    sender.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_a_redirect_of_the_settings_is_not_followed(server: WriteServer, elsewhere: StubServer, status: int) -> None:
    server.location, server.settings = f"http://{elsewhere.addr}/settings", (status, b"")
    with pytest.raises(ServiceUnavailable, match="/settings with a redirect"):
        sender_to(QuestDBOptions(addr=server.addr))
    assert elsewhere.asked == 0


def test_a_server_that_hangs_is_unavailable_and_the_next_write_works(server: WriteServer) -> None:
    sender = sender_to(QuestDBOptions(addr=server.addr, request_timeout_ms=100))
    server.answers = [(0, b"")]
    with pytest.raises(ServiceUnavailable, match=r"does not answer.*timed out") as error:
        sender.send(batch_of(2), CATALOGUE)
    assert error.value.hint == UNREACHABLE
    assert sender.send(batch_of(2), CATALOGUE) is None
    sender.close()


@pytest.mark.parametrize(("status", "hint"), [(401, "sinks.questdb.user"), (403, "allowed to write to the table trades"),
                                              (500, "QuestDB's own log"), (400, ""), (200, "")])
def test_an_answer_that_stores_nothing_is_shown_with_a_hint_of_its_own(server: WriteServer, status: int, hint: str) -> None:
    sender = sender_to(QuestDBOptions(addr=server.addr))
    server.answers = [(status, b"its own words")]
    with pytest.raises(ServiceUnavailable, match=f"does not accept trades: HTTP {status}: 'its own words'") as error:
        sender.send(batch_of(2), CATALOGUE)
    assert hint in error.value.hint
    assert error.value.hint != UNREACHABLE
    sender.close()


def test_a_line_that_was_never_sent_is_not_blamed(server: WriteServer) -> None:
    sender = sender_to(QuestDBOptions(addr=server.addr))
    for line in (b"0", b"3", b"-1"):
        server.answers = [(400, b'{"message":"bad","line":' + line + b"}")]
        with pytest.raises(ServiceUnavailable, match="bad"):
            sender.send(batch_of(2), CATALOGUE)
    sender.close()


def test_rows_that_the_client_does_not_make_are_rejected_without_a_request(server: WriteServer) -> None:
    sender, batch = sender_to(QuestDBOptions(addr=server.addr)), batch_of(3)
    batch.timestamp[1] = -5
    row, reason = sender.send(batch, CATALOGUE) or (0, "")
    assert row == -1
    assert reason
    assert [method for method, *_ in server.requests] == ["GET"]
    sender.close()


def test_the_login_goes_with_every_request_and_any_sign_is_kept(server: WriteServer) -> None:
    sender = sender_to(QuestDBOptions(addr=server.addr, user="tr;ader", password="a;b=ü'제"))
    assert sender.send(batch_of(2), CATALOGUE) is None
    expected = "Basic " + base64.b64encode("tr;ader:a;b=ü'제".encode()).decode()
    assert [login for _, _, login, _ in server.requests] == [expected] * 2
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


@pytest.mark.parametrize("settings", [
    (200, SETTINGS), (200, b'{"config":{"line.proto.support.versions":[3,4]}}'), (200, b'{"config":{}}'), (404, b"not found")])
def test_a_version_with_nanoseconds_is_chosen_from_those_that_the_server_names(
        server: WriteServer, settings: tuple[int, bytes]) -> None:
    server.settings = settings
    sender = sender_to(QuestDBOptions(addr=server.addr))
    assert sender.send(batch_of(2), CATALOGUE) is None
    assert b"price==\x10" in server.requests[-1][3]
    assert b"n\n" in server.requests[-1][3]
    sender.close()


@pytest.mark.parametrize(("settings", "error", "words"), [
    ((200, b'{"config":{"line.proto.support.versions":[1]}}'), ConfigError, "protocol version 1, PumpWatch sends 2 or 3"),
    ((200, b'{"config":{"line.proto.support.versions":[4,5]}}'), ConfigError, "protocol version 4 or 5"),
    ((401, b""), ConfigError, "rejects the user"), ((500, b"oops"), ServiceUnavailable, "HTTP 500: 'oops'"),
    ((200, b"<html>"), ServiceUnavailable, "HTTP 200: '<html>'")])
def test_settings_that_do_not_fit_end_the_opening(
        server: WriteServer, settings: tuple[int, bytes], error: type[Exception], words: str) -> None:
    server.settings = settings
    with pytest.raises(error, match=words):
        sender_to(QuestDBOptions(addr=server.addr))
    assert [method for method, *_ in server.requests] == ["GET"]


def test_sending_before_opening_is_unavailable() -> None:
    with pytest.raises(ServiceUnavailable, match="not open"):
        TradeSender(Server(QuestDBOptions()), "trades").send(batch_of(1), CATALOGUE)
