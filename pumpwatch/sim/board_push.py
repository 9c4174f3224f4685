"""The WebSocket of a simulated board: clients subscribe and are sent new and changed notices."""

from __future__ import annotations

from typing import Any

import gevent

from pumpwatch.clock import Clock
from pumpwatch.sim import wire
from pumpwatch.sim.board_dialect import Post, PushDialect
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.http_messages import HttpCall
from pumpwatch.sim.tls import ServerTlsStream

CLOSE_FRAME = wire.head(2, wire.CLOSE) + (1000).to_bytes(2, "big")


class PushClient:
    """One client of a board's WebSocket. notes: the dialect's data, such as the client's subscriptions."""

    def __init__(self, dialect: PushDialect, stream: ServerTlsStream) -> None:
        self.notes: dict[str, Any] = {}
        self._dialect, self._stream = dialect, stream
        self._frames = wire.ClientFrames()
        self._reader: Any = None

    def serve(self, received: bytes) -> None:
        """Read until the client leaves or is dropped; the body of the connection's greenlet."""
        self._reader = gevent.getcurrent()
        data = received
        while True:
            for opcode, payload in self._frames.feed(data) if data else ():
                if opcode == wire.CLOSE:
                    self._send(CLOSE_FRAME)
                    return
                if opcode == wire.PING:
                    self._send(wire.head(len(payload), wire.PONG) + payload)
                elif opcode == wire.TEXT:
                    for answer in self._dialect.receive(self.notes, payload.decode("utf-8", "replace")):
                        self.send(answer)
            data = self._stream.read()
            if not data:
                return

    def send(self, text: str) -> None:
        """Send one text message."""
        payload = text.encode()
        self._send(wire.head(len(payload)) + payload)

    def _send(self, data: bytes) -> None:
        if not self._stream.closed:
            self._stream.write(data)
            self._stream.flush()

    def drop(self) -> None:
        """End the connection without a close frame, as a network failure does."""
        self._stream.close(abort=True)
        if self._reader is not None:
            self._reader.kill(block=False)


class BoardPush:
    """The clients of one board. revoked: every key is rejected."""

    def __init__(self, dialect: PushDialect, name: str, clock: Clock, truth: TruthWriter) -> None:
        self.revoked = False
        self.connects = self.rejected = self.sent = 0
        self._dialect, self._name, self._clock, self._truth = dialect, name, clock, truth
        self._clients: list[PushClient] = []

    @property
    def clients(self) -> int:
        """Return how many clients are connected."""
        return len(self._clients)

    def accept(self, stream: ServerTlsStream, request: wire.ClientRequest, received: bytes) -> None:
        """Serve one client from its handshake on. Raises ProtocolError."""
        call = HttpCall(request.method, request.path, request.query, request.headers, request.body, self._clock.now_ns())
        refusal = self._dialect.open(call, self.revoked)
        if refusal is not None:
            self.rejected += 1
            stream.write(wire.answer(refusal, keep=False))
            stream.flush()
            return
        stream.write(wire.accept(request))
        stream.flush()
        self.connects += 1
        client = PushClient(self._dialect, stream)
        self._clients.append(client)
        try:
            client.serve(received)
        finally:
            self._clients.remove(client)

    def cut(self) -> int:
        """End every connection now; return how many there were."""
        clients = list(self._clients)
        for client in clients:
            client.drop()
        self._truth.event("push_cut", board=self._name, connections=len(clients))
        return len(clients)

    def send_notice(self, post: Post, event: str) -> None:
        """Send a new (`created`) or changed (`updated`) notice to its subscribers."""
        for client in list(self._clients):
            text = self._dialect.encode(post, event, client.notes, self._clock.now_ns())
            if text:
                client.send(text)
                self.sent += 1
