"""Watch every store of a collector: its files, its sinks and Redis. The drains open the sinks, and retry with back-off.

Every LOOK_S the figures of all servers are queried at once, in the threads of the sinks: a server that hangs does not delay
others. The state between two looks is that of the drain, with the last error of its calls as the reason.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import gevent

from pumpwatch.app.parts import CollectorParts
from pumpwatch.ops.stores import StoreRow, files, query_sink, redis_row
from pumpwatch.sink_abilities import ServerFacts

LOOK_S = 30.0
OPENING = ("open", "write")


class StoreWatch:
    """The stores of one collector, as of the last look."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector = collector
        self._files: list[StoreRow] = []
        self._seen: dict[str, StoreRow] = {}
        self._asking: dict[str, gevent.Greenlet[[str], None]] = {}

    def look(self) -> None:
        """Query every store without a running query. Does not wait for stores that hang."""
        collector = self._collector
        last = {"dropped_trades": collector.stats.get("dropped_trades_total")}
        self._files = collector.memory_thread.apply(lambda: list(files(collector.folder, last)))
        names = [*collector.drains, *(["redis"] if collector.redis else [])]
        for name in names:
            if name not in self._asking or self._asking[name].dead:
                self._asking[name] = gevent.spawn(self._ask, name)

    def _ask(self, name: str) -> None:
        collector = self._collector
        if name in collector.drains:
            state = {"state": collector.drains[name].state}
            self._seen[name] = query_sink(name, collector.sinks[name], state, also_trouble=False)
        elif collector.redis:
            self._seen[name] = redis_row(collector.redis)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each store, see `StoreRow.figures`, with its present state.

        Calls are left out: `status.json` has them with the sinks and with Redis.
        """
        collector = self._collector
        rows = [row.figures() for row in self._files]
        for name, drain in collector.drains.items():
            failed, reason = collector.sink_calls[name].failing(*OPENING)
            row = self._seen.get(name) or StoreRow(name, drain.state, ServerFacts())
            state = f"down: {reason}" if drain.state == "down" and reason else drain.state
            if state == "up" and row.state.startswith("down: "):
                state = row.state  # it takes trades and does not answer questions
            rows.append(dataclasses.replace(row, state=state, failed_in_a_row=failed).figures())
        if collector.redis and (seen := self._seen.get("redis")):
            failed = collector.redis.figures()["failed_looks"]
            rows.append(dataclasses.replace(seen, state=collector.redis.trouble or "up", failed_in_a_row=failed).figures())
        return rows
