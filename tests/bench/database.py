"""The QuestDB both collectors write to: one server a run, ILP over HTTP for ours, over TCP for cryptofeed."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import requests

from tests.bench.processes import Usage, await_that, usage
from tests.questdb_server import QuestDBServer

WARM_ROUNDS, WARM_ROWS = 60, 5_000
PEER_TABLES = ("trades-BINANCE", "trades-BINANCE_FUTURES")


class Database:
    """A QuestDB with both doors open."""

    def __init__(self, folder: Path) -> None:
        self.ilp_port = _free_port()
        # cryptofeed makes its tables by writing to them; ours makes its schema by itself either way
        self.server = QuestDBServer(folder, {
            "QDB_LINE_TCP_ENABLED": "true", "QDB_LINE_TCP_NET_BIND_TO": f"127.0.0.1:{self.ilp_port}",
            "QDB_LINE_AUTO_CREATE_NEW_TABLES": "true", "QDB_LINE_AUTO_CREATE_NEW_COLUMNS": "true"}, short_lived=False)

    @property
    def addr(self) -> str:
        """Return host:port of its HTTP side."""
        return self.server.addr

    def start(self) -> None:
        """Start the server, or raise with its last lines; then let Java compile both doors before anyone is measured."""
        self.server.start()
        for _ in range(WARM_ROUNDS):
            now_ns = time.time_ns()
            lines = [f"{{}},symbol=C{number % 97},side=buy price={number}.5,amount=1.0,id={number}i {now_ns + number}\n"
                     for number in range(WARM_ROWS)]
            text = "".join(lines)
            with socket.create_connection(("127.0.0.1", self.ilp_port), timeout=10) as peer:
                peer.sendall(text.replace("{}", "warm_tcp").encode())
            requests.post(f"http://{self.addr}/write", data=text.replace("{}", "warm_http").encode(), timeout=30)
        await_that("QuestDB to show the rows of its warm-up", lambda: self.rows("warm_tcp") == WARM_ROUNDS * WARM_ROWS, 60)
        self.clear("warm_tcp", "warm_http")

    def end(self) -> None:
        """End the server."""
        self.server.end()

    def usage(self) -> Usage:
        """Return what the server process has used so far."""
        process = self.server._process
        assert process, "the server is not running"
        return usage(process.pid)

    def rows(self, *tables: str) -> int:
        """Return the rows that can be seen in these tables together; a missing table has none."""
        known = self._tables()
        return sum(self.server.value(f"SELECT count() FROM '{table}'") for table in tables if table in known)

    def per_symbol(self, table: str, symbol: str, id_column: str, where: str = "true") -> dict[str, list[Any]]:
        """Return symbol -> [rows, distinct ids, lowest, highest]."""
        if table not in self._tables():
            return {}
        figures = f"count(), count_distinct({id_column}), min({id_column}), max({id_column})"
        found = self.server.sql(f"SELECT {symbol}, {figures} FROM '{table}' WHERE {where}")
        return {str(row[0]): row[1:] for row in found}

    def clear(self, *tables: str) -> None:
        """Drop what is there of these tables and views, so that the next collector starts with none."""
        known = self._tables()
        views = {row[0] for row in self.server.sql("SELECT view_name FROM materialized_views()")}
        for table in tables:
            if table in known:
                self.server.sql(f"DROP {'MATERIALIZED VIEW' if table in views else 'TABLE'} '{table}'")

    def _tables(self) -> set[str]:
        return {row[0] for row in self.server.sql("SELECT table_name FROM tables()")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
