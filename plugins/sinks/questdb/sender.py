"""Send trades to QuestDB, and find the row that a rejection names.

QuestDB's client builds the rows (see `lines`), and `Server` posts them. The client's own sender is not used, because client 6.0.0
follows a redirected write anywhere and then never returns; `Server` follows none and has a timeout. This module never retries:
the drain keeps a batch until it is stored. After a failed post the outcome is unknown; sending the batch again is harmless,
because the table deduplicates. `open` imports the client, so that only a collector with this sink pays for it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import msgspec
import requests
from pumpwatch_plugins.sinks.questdb.http import Reply, Server
from pumpwatch_plugins.sinks.questdb.lines import TradeLines

from pumpwatch import Catalogue, ConfigError, ServiceUnavailable, TradeBatch

if TYPE_CHECKING:
    from questdb.ingress import Buffer

VERSIONS = (2, 3)  # of the line protocol, in order of preference: 1 has no nanoseconds, and both give the same bytes for trades
LOGIN = "the user of sinks.questdb.user must be allowed to write to the table {}"
SERVER_LOG = "see QuestDB's own log; the trades are sent again until it stores them"


class Refusal(msgspec.Struct):
    """The server's answer to lines that it rejects. `line` counts from 1."""

    message: str = ""
    line: int | None = None


REFUSAL = msgspec.json.Decoder(Refusal)


class TradeSender:
    """One connection to the server, for one table. Belongs to the sink's thread."""

    def __init__(self, server: Server, table: str) -> None:
        self._server, self._table = server, table
        self._lines = TradeLines(table)
        self._session: requests.Session | None = None  # None: not open
        self._version = VERSIONS[0]
        self._buffer: type[Buffer]

    def open(self) -> None:
        """Choose the protocol version. Raises ServiceUnavailable, or ConfigError if no version fits."""
        self.close()
        named = self._server.protocol_versions() or [VERSIONS[0]]
        fitting = [version for version in VERSIONS if version in named]
        if not fitting:
            raise ConfigError(
                f"QuestDB at {self._server.addr} accepts rows in protocol version {_listed(named)},"
                f" PumpWatch sends {_listed(VERSIONS)}",
                f"use a QuestDB that accepts version {VERSIONS[0]}, such as 9.3.4")
        self._version = fitting[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the client has no other way to a buffer without a connection
            from questdb.ingress import Buffer
        self._buffer = Buffer
        self._session = self._server.session()

    def send(self, batch: TradeBatch, catalogue: Catalogue) -> tuple[int, str] | None:
        """Send the batch in one request. Return None if it is stored, else (row, reason): nothing is stored because of this row.

        row: -1 if it is unknown. Raises ServiceUnavailable if the outcome is unknown, or for a rejection that names no row.
        """
        if self._session is None:
            raise ServiceUnavailable("the QuestDB sink is not open")
        from questdb import QuestDBError

        try:
            rows = self._rows(batch, catalogue)
        except (QuestDBError, ValueError) as error:  # the client does not make one of these rows
            return -1, str(error)
        reply = self._server.write(self._session, rows)
        if reply.status == 204:
            return None
        blamed = blamed_row(reply)
        if blamed is None or not 0 <= blamed[0] < len(batch):
            raise self._unavailable(reply)
        return blamed

    def close(self) -> None:
        """Disconnect."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _rows(self, batch: TradeBatch, catalogue: Catalogue) -> bytes:
        buffer = self._buffer(protocol_version=self._version)
        self._lines.add(buffer, batch, catalogue)
        return bytes(buffer)

    def _unavailable(self, reply: Reply) -> ServiceUnavailable:
        hint = LOGIN.format(self._table) if reply.status in (401, 403) else SERVER_LOG if reply.status >= 500 else ""
        return ServiceUnavailable(f"QuestDB at {self._server.addr} does not accept trades: {reply.shown()}", hint)


def blamed_row(reply: Reply) -> tuple[int, str] | None:
    """Return the row that the server's answer names, counted from 0, and the reason; None if it names none."""
    if reply.status != 400:  # other errors are not about a row
        return None
    try:
        refusal = REFUSAL.decode(reply.body)
    except msgspec.DecodeError:
        return None
    if refusal.line is None:
        return None
    return refusal.line - 1, " ".join(refusal.message.split("\n")[1:]) or refusal.message


def _listed(versions: list[int] | tuple[int, ...]) -> str:
    return " or ".join(map(str, versions))
