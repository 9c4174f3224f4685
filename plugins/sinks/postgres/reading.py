"""Read trades back, from a replica if one is configured and not far behind."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from pumpwatch_plugins.sinks.postgres.options import PostgresOptions
from pumpwatch_plugins.sinks.postgres.server import Server
from pumpwatch_plugins.sinks.postgres.sql import within

from pumpwatch import NO_SEQUENCE, PumpWatchError, TradeBatch

log = logging.getLogger(__name__)

Name = tuple[str, str, str]  # exchange, market_type, symbol
NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # an id that a round trip through int64 does not change
LAG_EVERY_S = 5.0
# A replica that was cut off for hours has replayed everything that it received; the time of its last transaction shows the lag.
LAG = ("SELECT CASE WHEN pg_is_in_recovery() THEN"
       " coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 1e9) ELSE 0 END")


class Readers:
    """The primary, and a replica that is queried first while it is not far behind. Any thread may call."""

    def __init__(self, primary: Server, options: PostgresOptions) -> None:
        self._primary, self._most_s = primary, options.read_lag_s
        self._replica = Server(msgspec.structs.replace(options, dsn=options.read_dsn)) if options.read_dsn else None
        self._looked_at, self._problem = -LAG_EVERY_S, ""

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Query the replica, or the primary if the replica cannot answer. Raises the errors of `Server.rows`."""
        replica = self._replica
        if replica is not None and self._is_near(replica):
            try:
                found: list[tuple[Any, ...]] = replica.rows(statement, values)
                return found
            except PumpWatchError as error:
                self._note(error.message)
        found = self._primary.rows(statement, values)
        return found

    def close(self) -> None:
        """Close the connections to the replica."""
        if self._replica is not None:
            self._replica.close_idle()

    def _is_near(self, replica: Server) -> bool:
        if time.monotonic() - self._looked_at < LAG_EVERY_S:
            return not self._problem
        self._looked_at = time.monotonic()
        try:
            behind_s = float(replica.rows(LAG)[0][0])
        except PumpWatchError as error:
            self._note(error.message)
            return False
        self._note(f"{replica.place} is {behind_s:,.0f} s behind" if behind_s > self._most_s else "")
        return not self._problem

    def _note(self, problem: str) -> None:
        """Record why the replica is not used, and log a change."""
        if bool(problem) != bool(self._problem):
            if problem:
                log.warning("replica not used, the primary answers sink=postgres reason=%r", problem)
            else:
                log.info("replica used again sink=postgres")
        self._problem = problem


def read(readers: Readers, schema: str, ids: Mapping[Name, int], start_ns: int, end_ns: int) -> TradeBatch:
    """Return the trades of these names in [start_ns, end_ns); `ids` gives each name its instrument id."""
    if start_ns >= end_ns:
        return TradeBatch.empty()
    names = list(ids)
    rows = readers.rows(
        "SELECT n.id, (extract(epoch FROM time) * 1000000)::bigint, time_ns, side = 'sell', price::float8, quantity::float8,"
        " trade_id, sequence_number, (extract(epoch FROM received_at) * 1000000)::bigint, received_ns, flags"
        " FROM unnest(%s::int4[], %s::text[], %s::text[], %s::text[]) n (id, exchange, market_type, symbol)"
        f" JOIN {schema}.trade_history t USING (exchange, market_type, symbol) WHERE {within(start_ns, end_ns)} ORDER BY 2, 3",
        (list(ids.values()), *([name[part] for name in names] for part in range(3))))
    return batch_of(rows)


def batch_of(rows: Sequence[tuple[Any, ...]]) -> TradeBatch:
    """Turn rows into a batch, column by column."""
    if not rows:
        return TradeBatch.empty()
    columns = zip(*rows, strict=True)
    instruments, time_us, time_ns, sell, price, quantity, ids, sequences, received_us, received_ns, flags = columns
    numbers, text_id = _ids(ids)
    return TradeBatch(
        timestamp=np.array(time_us, np.int64) * 1000 + np.array(time_ns, np.int64), instrument=np.array(instruments, np.int32),
        price=np.array(price, np.float64), quantity=np.array(quantity, np.float64), side=np.array(sell, np.uint8),
        trade_id=numbers, sequence_number=np.array([NO_SEQUENCE if value is None else value for value in sequences], np.int64),
        received_at=np.array(received_us, np.int64) * 1000 + np.array(received_ns, np.int64),
        flags=np.array([value or 0 for value in flags], np.uint8), text_id=text_id)


def _ids(texts: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Return ids as numbers, and as text if a number would change the text."""
    plain = [text if NUMBER.fullmatch(text) else "" for text in texts]
    odd = [b"" if number else text.encode() for number, text in zip(plain, texts, strict=True)]
    return np.array([int(text or 0) for text in plain], np.int64), np.array(odd) if any(odd) else None
