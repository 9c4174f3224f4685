"""A line to a simulated venue that delivers everything some seconds late, or is cut while it does, once it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque


class SlowLine:
    """Forwards TCP connections on `port`, of loopback, to another port; what the venue sends waits `delay_s` seconds."""

    def __init__(self, to_port: int) -> None:
        self.delay_s = 0.0
        self._cut = threading.Event()
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port))
                self._open += [near, far]
                threading.Thread(target=self._forward, args=(near, far), daemon=True).start()
                waiting: deque[tuple[float, bytes]] = deque()
                threading.Thread(target=self._take, args=(far, waiting), daemon=True).start()
                threading.Thread(target=self._deliver, args=(waiting, near), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _take(self, source: socket.socket, waiting: deque[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                waiting.append((time.monotonic(), data))
        waiting.append((time.monotonic(), b""))

    def _deliver(self, waiting: deque[tuple[float, bytes]], target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self._cut.is_set():
                    for _, data in list(waiting)[:len(waiting) // 2]:
                        target.sendall(data)
                    target.shutdown(socket.SHUT_RDWR)
                    return
                if not waiting or time.monotonic() < waiting[0][0] + self.delay_s:
                    time.sleep(0.01)
                    continue
                data = waiting.popleft()[1]
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)

    def cut(self) -> None:
        """Deliver the first half of what is late, drop the rest, and end all connections; those to come are cut at once."""
        self._cut.set()

    def __enter__(self) -> SlowLine:
        return self

    def __exit__(self, *_: object) -> None:
        for open_socket in self._open:
            open_socket.close()
