"""Connections over real sockets, against another implementation of the server side."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from http import HTTPStatus

import pytest
import trustme
from websockets.sync.server import serve

from pumpwatch.clock import Clock
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer, tls_context
from pumpwatch.stats import Stats


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, str(path)


@contextmanager
def venue(handler, ca=None, **options):
    """Run a WebSocket server in a thread; yields its URL."""
    context = None
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
    with serve(handler, "127.0.0.1", 0, ssl=context, **options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        scheme = "ws" if ca is None else "wss"
        yield f"{scheme}://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        server.shutdown()


class Failing:
    """A stream whose reading has a bug."""

    def __init__(self, stream):
        self._stream = stream

    def receive(self, target, at):
        raise ValueError("a bug")

    def __getattr__(self, name):
        return getattr(self._stream, name)


class Later(Clock):
    """Ten seconds from now."""

    def monotonic(self) -> float:
        return super().monotonic() + 10


class Reader:
    """One connection, swept until it ends or is told enough."""

    def __init__(self, url: str, ca_file: str = "", proxy: str = "", max_frame_bytes: int = 1 << 20) -> None:
        self.stats = Stats()
        self.sweep = Sweep(Clock(), self.stats, 0.001, 0.001, 1 << 25)
        self.buffer = FrameBuffer()
        self.payloads: list[bytes] = []
        stream = Dialer(tls_context(ca_file), 5.0, proxy).open(url, {"X-Test": "yes"})
        self.connection = Connection(stream, self.buffer, max_frame_bytes, lambda reason: None)
        self.sweep.add(self.connection)

    def until(self, done, within_s: float = 10.0) -> Reader:
        deadline = time.monotonic() + within_s
        while not done(self):
            assert time.monotonic() < deadline, (self.connection.closed, len(self.payloads))
            self.sweep.once()
            frames = self.buffer.take_frames()
            if frames:
                self.payloads += [frames.payload(i) for i in range(len(frames))]
            time.sleep(0.001)
        return self

    def until_closed(self) -> Reader:
        self.until(lambda reader: reader.connection.closed)
        self.connection.stream.close()
        return self


def talk(ws):
    ws.send('{"first": 1}')
    ws.send(b'{"binary": 2}')
    ws.send(iter(['{"frag', 'ments', '": 3}']))
    ws.send('"' + "x" * 200_000 + '"')
    for number in range(500):
        ws.send(str(number))
    ws.recv()
    ws.close(1008, "Too many requests")


@pytest.mark.parametrize("secure", [True, False])
def test_everything_a_server_sends_arrives_in_order_and_the_close_has_its_code(authority, secure):
    ca, ca_file = authority
    with venue(talk, ca if secure else None) as url:
        reader = Reader(url, ca_file if secure else "").until(lambda one: len(one.payloads) == 504)
        reader.connection.send_text("enough")
        reader.until_closed()
    assert reader.payloads[:3] == [b'{"first": 1}', b'{"binary": 2}', b'{"fragments": 3}']
    assert len(reader.payloads[3]) == 200_002
    assert reader.payloads[4:] == [str(number).encode() for number in range(500)]
    assert reader.connection.closed == "closed by the venue: 1008 Too many requests"


def test_pings_are_answered_while_data_flows(authority):
    answered = []

    def ping(ws):
        pong = ws.ping(b"are you there")
        ws.send("1")
        answered.append(pong.wait(5))

    ca, ca_file = authority
    with venue(ping, ca) as url:
        Reader(url, ca_file).until_closed()
    assert answered == [True]


def test_our_frames_are_masked_and_understood_and_headers_are_sent(authority):
    heard = []

    def listen(ws):
        heard.append(ws.request.headers["X-Test"])
        heard.append(ws.recv())
        heard.append(ws.recv())

    ca, ca_file = authority
    with venue(listen, ca) as url:
        reader = Reader(url, ca_file)
        reader.connection.send_text("ü" * 70_000)
        reader.connection.send_text("short")
        reader.until_closed()
    assert heard == ["yes", "ü" * 70_000, "short"]


def test_a_broken_connection_is_noticed_and_its_data_is_kept(authority):
    def drop(ws):
        ws.send("1")
        ws.socket.shutdown(socket.SHUT_RDWR)

    ca, ca_file = authority
    with venue(drop, ca) as url:
        reader = Reader(url, ca_file).until_closed()
    assert reader.payloads == [b"1"]
    assert "close" in reader.connection.closed or "broken" in reader.connection.closed or "EOF" in reader.connection.closed


def test_a_frame_over_the_limit_closes_with_1009(authority):
    codes = []

    def big(ws):
        ws.send("2" * 5000)
        try:
            ws.recv()
        finally:
            codes.append(ws.protocol.close_rcvd.code if ws.protocol.close_rcvd else None)

    ca, ca_file = authority
    with venue(big, ca) as url:
        reader = Reader(url, ca_file, max_frame_bytes=1000).until_closed()
    assert codes == [1009] and "5000 bytes" in reader.connection.closed


def test_an_untrusted_certificate_is_an_error_with_its_reason(authority):
    ca, _ = authority
    with venue(talk, ca) as url, pytest.raises(ServiceUnavailable, match="certificate is not trusted"):
        Reader(url)


def test_a_rejected_handshake_shows_the_status():
    def refuse(connection, request):
        return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "slow down\n")

    with venue(talk, process_request=refuse) as url, pytest.raises(ServiceUnavailable, match="HTTP 429"):
        Reader(url)


def test_a_port_without_a_listener_is_one_clear_error():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServiceUnavailable, match=rf"127\.0\.0\.1:{port}: .*refused"):
        Reader(f"ws://127.0.0.1:{port}/")


def test_a_wrong_authority_file_names_the_key(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("nonsense")
    with pytest.raises(ConfigError, match=r"net\.ca_file"):
        tls_context(str(path))


def test_a_connection_through_an_http_proxy(authority):
    asked = []

    def proxy(listener):
        client, _ = listener.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(4096)
        asked.append(request.split(b"\r\n")[0])
        host, port = request.split()[1].decode().rsplit(":", 1)
        upstream = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def pump(source, target):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

        back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
        back.start()
        pump(client, upstream)

    ca, ca_file = authority
    with socket.create_server(("127.0.0.1", 0)) as listener, venue(talk, ca) as url:
        threading.Thread(target=proxy, args=(listener,), daemon=True).start()
        reader = Reader(url, ca_file, proxy=f"http://127.0.0.1:{listener.getsockname()[1]}")
        reader.until(lambda one: len(one.payloads) == 504)
        reader.connection.send_text("enough")
        reader.until_closed()
    assert asked == [b"CONNECT " + url.removeprefix("wss://").removesuffix("/ws").encode() + b" HTTP/1.1"]


def test_a_venue_whose_frames_pile_up_is_not_read_until_they_are_taken():
    def flood(ws):
        for _ in range(3000):
            ws.send("3" * 1000)
        ws.recv()

    with venue(flood) as url:
        reader = Reader(url)
        reader.sweep._max_pending_bytes = 100_000
        deadline = time.monotonic() + 5
        while not reader.stats.total("net_held_back_total") and time.monotonic() < deadline:
            reader.sweep.once()
            time.sleep(0.001)
        held_at = reader.buffer.end
        for _ in range(50):
            reader.sweep.once()
            time.sleep(0.001)
        assert reader.buffer.end == held_at < 1_000_000
        reader.until(lambda one: len(one.payloads) == 3000)
        reader.connection.close("done")
        reader.connection.stream.close()


def test_reserved_bits_from_a_server_end_the_connection():
    def odd(ws):
        ws.send("1")
        ws.socket.sendall(b"\xc1\x012")
        ws.recv()

    with venue(odd) as url:
        reader = Reader(url).until_closed()
    assert reader.payloads == [b"1"] and "reserved bits" in reader.connection.closed


def test_a_frame_that_comes_with_the_handshakes_answer_is_read_at_once(authority):
    ca, ca_file = authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    def answer(listener):
        with context.wrap_socket(listener.accept()[0], server_side=True) as client:
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + b"\x81\x05early")
            client.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        reader = Reader(f"wss://127.0.0.1:{listener.getsockname()[1]}/", ca_file).until(lambda one: one.payloads, 3.0)
        reader.connection.close("done")
        reader.connection.stream.close()
    assert reader.payloads == [b"early"]


def test_a_connection_whose_reading_fails_is_closed_and_the_others_are_read_on():
    def chatty(ws):
        ws.send("1")
        ws.recv()

    with venue(chatty) as url:
        reader, broken = Reader(url), Reader(url)
        broken.connection.stream = Failing(broken.connection.stream)
        reader.sweep.add(broken.connection)
        reader.until(lambda one: one.payloads and broken.connection.closed)
        for one in (reader, broken):
            one.connection.close("done")
            one.connection.stream.close()
    assert "a bug" in broken.connection.closed and reader.payloads == [b"1"]


def test_a_venue_that_sends_too_many_frames_is_held_back_by_their_number_and_the_others_are_read(caplog):
    def flood(ws):
        for _ in range(60):
            ws.socket.sendall(b"\x81\x01x" * 1000)
        ws.recv()

    def chatty(ws):
        for number in range(100):
            ws.send(str(number))
        ws.recv()

    with venue(flood) as url, venue(chatty) as other_url:
        reader = Reader(url)
        reader.buffer.name = "a.spot"
        reader.sweep._max_pending_frames = 2000
        other = Reader(other_url)
        reader.sweep.add(other.connection)
        deadline = time.monotonic() + 5
        while len(other.buffer.stops) < 100 and time.monotonic() < deadline:
            reader.sweep.once()
            time.sleep(0.001)
        for _ in range(50):
            reader.sweep.once()
            time.sleep(0.001)
        held = len(reader.buffer.stops)
        assert 2000 <= held <= 60_000 and len(other.buffer.stops) == 100
        assert reader.stats.get("net_held_back_total", venue="a.spot") == 1
        assert [one.getMessage().split(" frames=")[0] for one in caplog.records] == ["reading is held back venue=a.spot"]
        assert reader.buffer.behind_since_ns > 0 == other.buffer.behind_since_ns
        reader.until(lambda one: len(one.payloads) == 60_000)
        reader.sweep._clock = Later()
        reader.sweep.once()
        assert reader.buffer.behind_since_ns == 0
        for one in (reader, other):
            one.connection.close("done")
            one.connection.stream.close()
