"""The process of drain_under_load, for tests of what happens to its QuestDB."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.forked import ForkedModule
from tests.questdb_server import QuestDBServer

RATE = 500


class Load:
    """The process of drain_under_load. It waits `patience_ms` for an answer: long, where the server does not hang."""

    def __init__(self, server: QuestDBServer, prefix: str, folder: Path, patience_ms: int = 20_000) -> None:
        self._process = ForkedModule("tests.store.drain_under_load", server.addr, prefix, str(folder), str(RATE),
                                     str(patience_ms), patched=True)
        assert self._process.stdout.readline() == "ready\n"

    def finish(self) -> dict[str, Any]:
        """Stop the making of trades, wait until all are sent, and return the report."""
        out = self._process.communicate(timeout=300)
        assert self._process.returncode == 0
        report: dict[str, Any] = json.loads(out)
        return report

    def kill(self) -> None:
        """End the process as the kernel would."""
        self._process.kill()
        self._process.communicate()


def await_rows(server: QuestDBServer, prefix: str, rows: int = RATE) -> int:
    """Wait until the load has a table with so many rows; return how many there are."""
    while not server.value(f"SELECT count() FROM tables() WHERE table_name = '{prefix}trades'"):
        time.sleep(0.2)
    return server.await_count(rows, f"{prefix}trades")
