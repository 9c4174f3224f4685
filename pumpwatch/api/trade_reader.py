"""The body of the processes of `reader_pool`: read stored trades and encode them.

The process shares no lock with the collector, has a lower priority and a memory limit. It reads the time range part by part.
Parts become longer while they hold few trades, and shorter if they hold many or do not fit into memory. The process serves
requests one by one, and ends when the collector ends or no longer wants its answer.

A message is a letter, four bytes of length, and the content. `Q`: a request as JSON. `H`: status and detail of the answer as
JSON. `D`: a piece of the answer. `E`: its end. `F`: the answer broke off, with the reason.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
from collections.abc import Iterator
from typing import Literal

import msgspec

from pumpwatch.api.encodings import FORMATS
from pumpwatch.clock import NS_PER_S
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError
from pumpwatch.model import TradeBatch
from pumpwatch.plugins import Plugins, load_plugins
from pumpwatch.store.query import QueryResult
from pumpwatch.store.stored import StoredTrades

HEAD = struct.Struct("!cI")
WANTED_ROWS = 50_000  # per part
FIRST_NS, SHORTEST_NS, LONGEST_NS = 10 * NS_PER_S, NS_PER_S // 100, 3600 * NS_PER_S
# On a busy core, a new process starts its answer after 2.2 s; with niceness 10 after 5.7 s, with 0 after 1.7 s. Recording was as
# fast with 5 as with 10, in one run of each.
NICE = 5
BUFFER_BYTES = 1 << 20


class Start(msgspec.Struct):
    """The first message to the process: the collector's config."""

    config: Config


class WantedTrades(msgspec.Struct):
    """A request: trades of a coin in [from_ns, to_ns)."""

    coin: str
    from_ns: int
    to_ns: int
    exchange: str | None
    market: str | None
    form: Literal["ndjson", "csv", "arrow", "parquet"]


class Outcome(msgspec.Struct):
    """The status of an answer; `detail` is the reason of an error."""

    status: int
    detail: str = ""


class Incomplete(PumpWatchError):
    """A part of the store that may have trades of the time did not answer."""


def parts(stored: StoredTrades, wanted: WantedTrades) -> Iterator[TradeBatch]:
    """Yield the trades part by part. Raises Incomplete, or MemoryError if even the shortest part does not fit."""
    at_ns, length_ns = max(wanted.from_ns, stored.begins_ns()), FIRST_NS
    while at_ns < wanted.to_ns:
        end_ns = min(at_ns + length_ns, wanted.to_ns)
        try:
            found: QueryResult = stored.of(wanted.coin, at_ns, end_ns, wanted.exchange, wanted.market)
        except MemoryError:
            if length_ns <= SHORTEST_NS:
                raise
            length_ns //= 4
            continue
        for part in found.parts:
            if part.problem:
                raise Incomplete(f"{part.source}: {part.problem}")
        if len(found.batch):
            yield found.batch
        at_ns = end_ns
        if len(found.batch) * 2 < WANTED_ROWS:
            length_ns = min(length_ns * 2, LONGEST_NS)
        elif len(found.batch) > WANTED_ROWS * 2:
            length_ns = max(length_ns // 2, SHORTEST_NS)


def pieces(stored: StoredTrades, wanted: WantedTrades) -> Iterator[tuple[bytes, bytes]]:
    """Yield the messages of an answer. Errors, such as too little memory, become messages too."""
    started = False
    try:
        if not stored.knows(wanted.coin):
            yield b"H", msgspec.json.encode(Outcome(404, "no trades of this coin are stored"))
            return
        for piece in FORMATS[wanted.form][1](parts(stored, wanted), stored.catalogue):
            if not started:
                started = True
                yield b"H", msgspec.json.encode(Outcome(200))
            if piece:
                yield b"D", piece
        if not started:
            yield b"H", msgspec.json.encode(Outcome(200))
        yield b"E", b""
        return
    except ImportError:
        status, reason = 501, "this format needs pyarrow, which is not installed: pip install 'pumpwatch[parquet]'"
    except PumpWatchError as error:
        status, reason = 503, f"a part of the store did not answer: {error.message}"
    except MemoryError:
        status, reason = 503, "the reader process has too little memory: raise api.reader_memory_bytes"
    yield (b"F", reason.encode()) if started else (b"H", msgspec.json.encode(Outcome(status, reason)))


class _Link:
    """The socket to the collector."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, kind: bytes, content: bytes) -> None:
        """Send a message. Raises OSError if the collector no longer wants it."""
        self._socket.sendall(HEAD.pack(kind, len(content)))
        self._socket.sendall(content)

    def receive(self) -> bytes:
        """Return the next request. Raises EOFError at the end."""
        _, length = HEAD.unpack(self._read(HEAD.size))
        return bytes(self._read(length))

    def _read(self, size: int) -> bytearray:
        content, at = bytearray(size), 0
        while at < size:
            count = self._socket.recv_into(memoryview(content)[at:])
            if not count:
                raise EOFError
            at += count
        return content


def limit_memory(most: int) -> None:
    """Limit the private memory of this process to `most` bytes."""
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve() -> None:
    """Answer the requests on file descriptor 0 until it is closed. This is the body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the collector, which then ends this process
    os.nice(NICE)
    sock = socket.socket(fileno=os.dup(0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    link = _Link(sock)
    try:
        config = msgspec.json.decode(link.receive(), type=Start).config
        limit_memory(config.api.reader_memory_bytes)
        plugins = load_plugins(config)
        while True:
            answer(link, config, plugins, msgspec.json.decode(link.receive(), type=WantedTrades))
    except (EOFError, OSError):
        return


def answer(link: _Link, config: Config, plugins: Plugins, wanted: WantedTrades) -> None:
    """Answer one request. Raises OSError if the collector no longer wants the answer."""
    for kind, content in pieces(StoredTrades(config, plugins), wanted):
        link.send(kind, content)
