"""Our collector with a PostgreSQL of its own beside it, under the same measure as the one with QuestDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.collectors import Addresses, Ours
from tests.bench.database import Database
from tests.bench.processes import BenchError
from tests.postgres_server import PostgresServer

COUNT = "SELECT count(*) FROM pumpwatch.trade_history"


class OnPostgres(Ours):
    """`pumpwatch collect` with the journal and PostgreSQL, which syncs each commit as it does by default."""

    def __init__(self, folder: Path, database: Database | None) -> None:
        super().__init__(folder, None)
        self.name = "pumpwatch+postgres"
        self._server = PostgresServer({"shared_buffers": "512MB", "max_wal_size": "4GB"}, durable=True)
        self._counted = 0

    def start(self, addresses: Addresses) -> None:
        self._server.start()
        super().start(addresses)

    def stored(self) -> int:
        if self._server.runs():
            self._counted = int(self._server.sql(COUNT)[0][0])
        return self._counted

    def end(self) -> None:
        """End the collector and the server. Raises BenchError where the server lacks a trade that was read."""
        try:
            super().end()
            if self._server.runs() and self.stored() < self._received:
                raise BenchError(f"PostgreSQL has {self._counted:,} of {self._received:,} trades")
        finally:
            self._server.remove()

    def _config(self, addresses: Addresses) -> dict[str, Any]:
        return {**super()._config(addresses), "sinks": {"postgres": {"dsn": self._server.dsn()}}}
