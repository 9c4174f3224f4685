"""A WebSocket for few messages: what is sent and received, that waiting ends, and how its end is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.server import serve

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.messages import TextSocket
from pumpwatch.net.ws import Dialer, tls_context


@contextmanager
def connected(handler: Callable[[Any], None]) -> Iterator[TextSocket]:
    with serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stream = Dialer(tls_context(), 5.0).open(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/", {"X-Test": "yes"})
        try:
            with TextSocket(stream) as socket:
                yield socket
        finally:
            server.shutdown()
            thread.join()


def test_messages_of_any_size_come_in_order() -> None:
    def talk(ws: Any) -> None:
        for size in (1, 200_000, 3):
            ws.send('"' + "x" * size + '"')
        ws.send(f'"{ws.recv()}"')
        ws.recv()

    with connected(talk) as socket:
        socket.send("hello")
        assert [len(socket.receive(30) or b"") for _ in range(3)] == [3, 200_002, 5]
        assert socket.receive(30) == b'"hello"'


def test_a_wait_ends_without_a_message_and_the_next_one_is_not_lost() -> None:
    def talk(ws: Any) -> None:
        ws.recv()
        ws.send("1")
        ws.recv()

    with connected(talk) as socket:
        assert socket.receive(0.01) is None
        socket.send("go on")
        assert socket.receive(30) == b"1"


def test_the_last_message_is_returned_before_the_end_is_reported() -> None:
    def talk(ws: Any) -> None:
        ws.send("1")
        ws.close(1008, "enough")

    with connected(talk) as socket:
        assert socket.receive(30) == b"1"
        with pytest.raises(ServiceUnavailable, match="1008 enough"):
            socket.receive(30)
        with pytest.raises(ServiceUnavailable, match="1008 enough"):
            socket.send("too late")


def test_leaving_sends_a_close_frame() -> None:
    ended = threading.Event()

    def talk(ws: Any) -> None:
        for _ in ws:
            pass
        ended.set()

    with connected(talk):
        pass
    assert ended.wait(30)
