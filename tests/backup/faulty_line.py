"""A line to a server that cuts, hangs, or passes everything on: what the internet does between a client and S3."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class FaultyLine:
    """Listens on a port of its own and passes connections on.

    cut_up_after: once so many bytes went up in all, every connection ends; cut_down_after: a connection ends once so many came
    down on it; hangs: nothing is passed on, nothing is closed. `uploaded` counts what went up, over all connections.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut_up_after: int | None = None
        self.cut_down_after: int | None = None
        self.cuts_left = 1_000_000
        self.hangs = False
        self.uploaded = 0
        self.cuts = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def repair(self) -> None:
        """Pass everything on from now on."""
        self.cut_up_after = self.cut_down_after = None
        self.hangs = False

    def close(self) -> None:
        """End every connection."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            if self.hangs:
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open.append(server)
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(65_536):
                limit, before = (self.cut_up_after, self.uploaded) if up else (self.cut_down_after, passed)
                if limit is not None and before + len(piece) > limit and self.cuts_left > 0:
                    self.cuts_left -= 1
                    self.cuts += 1
                    target.sendall(piece[:max(0, limit - before)])
                    break
                target.sendall(piece)
                passed += len(piece)
                if up:
                    self.uploaded += len(piece)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
