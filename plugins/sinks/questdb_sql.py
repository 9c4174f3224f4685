"""What the QuestDB sink says in SQL: its tables and views, the check of those that exist, and the REST call.

No INDEX on symbol: it makes nothing we ask faster but the count of a day, and the table 1.7 times as large. Views are
refreshed once a minute, which costs the server a fifth of refreshing them at once. `flags` and `sequence_number` are
NULL for a trade that has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import requests

from pumpwatch import ConfigError, ServiceUnavailable

UNREACHABLE = "is QuestDB running there? `packaging/questdb start DIR` starts one"
DDL_TIMEOUT_S = 30.0
MIN_BYTES_PER_S = 2 << 20  # a write may take this much longer than the timeout
HOURS = {"HOUR": 1, "DAY": 24, "WEEK": 168}

TRADE_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("exchange", "SYMBOL"), ("market_type", "SYMBOL"), ("symbol", "SYMBOL"),
    ("side", "SYMBOL"), ("price", "DOUBLE"), ("quantity", "DOUBLE"), ("trade_id", "VARCHAR"),
    ("sequence_number", "LONG"), ("received_at", "TIMESTAMP_NS"), ("flags", "INT"),
)
HEALTH_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("exchange", "SYMBOL"), ("market_type", "SYMBOL"), ("connections", "INT"),
    ("trades", "LONG"), ("lag_ms", "DOUBLE"), ("gaps", "LONG"),
)
LISTING_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("source", "SYMBOL"), ("notice_id", "VARCHAR"), ("symbol", "SYMBOL"),
    ("title", "VARCHAR"), ("detected_at", "TIMESTAMP_NS"), ("triggered_at", "TIMESTAMP_NS"), ("needs_body", "BOOLEAN"),
    ("archive", "VARCHAR"), ("trades", "LONG"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """One table; its first column is the designated timestamp. ttl_days: 0 for ever, None left as it is found."""

    name: str
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    partition: str
    ttl_days: int | None = None

    def ddl(self) -> str:
        """Return the CREATE TABLE statement; it does nothing where the table exists."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        ttl = f" TTL {self.ttl_days} DAYS" if self.ttl_days else ""
        return (f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}) TIMESTAMP({self.columns[0][0]})"
                f" PARTITION BY {self.partition}{ttl} WAL DEDUP UPSERT KEYS({', '.join(self.keys)})")


def tables(prefix: str, ttl_days: int) -> tuple[Table, Table, Table]:
    """Return trades, exchange_health, listing_events."""
    key = ("timestamp", "exchange", "market_type")
    return (
        Table(f"{prefix}trades", TRADE_COLUMNS, (*key, "symbol", "trade_id"), "DAY", ttl_days),
        Table(f"{prefix}exchange_health", HEALTH_COLUMNS, key, "DAY", ttl_days),
        Table(f"{prefix}listing_events", LISTING_COLUMNS, ("timestamp", "source", "notice_id", "symbol"), "YEAR"),
    )


def candle_views(prefix: str) -> tuple[str, str]:
    """Return the statements that make candles_1m (from trades) and candles_5m (from candles_1m)."""
    return (
        _view(f"{prefix}candles_1m", f"{prefix}trades", "DAY",
              "first(price) open, max(price) high, min(price) low, last(price) close, sum(quantity) volume,"
              " sum(price * quantity) turnover, sum(CASE WHEN side = 'buy' THEN quantity ELSE 0.0 END) buy_volume,"
              " count() trades", "1m"),
        _view(f"{prefix}candles_5m", f"{prefix}candles_1m", "MONTH",
              "first(open) open, max(high) high, min(low) low, last(close) close, sum(volume) volume,"
              " sum(turnover) turnover, sum(buy_volume) buy_volume, sum(trades) trades", "5m"),
    )


def _view(name: str, source: str, partition: str, columns: str, every: str) -> str:
    return (f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name} WITH BASE {source} REFRESH EVERY 1m AS (SELECT timestamp,"
            f" exchange, market_type, symbol, {columns} FROM {source} SAMPLE BY {every}) PARTITION BY {partition}")



def text(value: str) -> str:
    """Return an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


# which of the names asked for, timestamp, sell, price, quantity, trade_id, sequence_number, received_at, flags
TradeRow = tuple[int, int, bool, float | None, float | None, str, int | None, int, int | None]


class Answer(msgspec.Struct):
    """The part of a REST answer that is looked at."""

    dataset: list[list[Any]] = []
    error: str = ""


class TradesAnswer(msgspec.Struct):
    """The same for trades: rows of known types are read in half the time."""

    dataset: list[TradeRow] = []
    error: str = ""


class Refusal(msgspec.Struct):
    """What the server says of lines it does not take."""

    message: str = ""
    line: int | None = None


REFUSAL = msgspec.json.Decoder(Refusal)
ANSWER = msgspec.json.Decoder(Answer)
TRADES_ANSWER = msgspec.json.Decoder(TradesAnswer)
A = TypeVar("A", Answer, TradesAnswer)


class Server:
    """The HTTP side of one QuestDB; cooperative where sockets are, in any thread.

    `exec` and `ingest` may be called in any thread. `trades` belongs to the greenlets of one: it keeps its connection,
    which is a millisecond of the five that a short query takes.
    """

    def __init__(self, addr: str, user: str, password: str, tls: bool, ca_file: str, timeout_s: float) -> None:
        self.addr = addr
        self._url = f"{'https' if tls else 'http'}://{addr}"
        self._auth = (user, password) if user else None
        self._verify: bool | str = ca_file or True
        self._timeout_s = timeout_s
        self._session = requests.Session()

    def exec(self, statement: str, timeout_s: float | None = None) -> list[list[Any]]:
        """Run one statement and return its rows. Raises ServiceUnavailable; ConfigError where the user is refused."""
        with requests.Session() as session:
            return self._ask(session, statement, timeout_s or self._timeout_s, ANSWER).dataset

    def trades(self, statement: str) -> list[TradeRow]:
        """Run a SELECT of whole trades."""
        return self._ask(self._session, statement, self._timeout_s, TRADES_ANSWER).dataset

    def ingest(self, session: requests.Session, body: bytes) -> tuple[int, str] | None:
        """Write lines. None: all are stored. (row, reason): none is, and this row is why; -1 where it is not said.

        Raises ServiceUnavailable when the outcome is unknown or the server refuses for another reason than a row.
        """
        timeout_s = self._timeout_s + len(body) / MIN_BYTES_PER_S
        try:
            answer = session.post(f"{self._url}/write?precision=n", data=body, auth=self._auth, verify=self._verify,
                                  timeout=timeout_s, allow_redirects=False)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not take trades: {_cause(error)}", UNREACHABLE) from error
        if answer.status_code in (200, 204):
            return None
        try:
            refusal = REFUSAL.decode(answer.content)
        except msgspec.DecodeError:
            refusal = Refusal()
        if answer.status_code != 400 or refusal.line is None:
            reason = refusal.message or answer.text[:200]
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not take trades: HTTP {answer.status_code}: {reason}")
        return refusal.line - 1, " ".join(refusal.message.split("\n")[1:]) or refusal.message

    def _ask(self, session: requests.Session, statement: str, timeout_s: float, decoder: msgspec.json.Decoder[A]) -> A:
        try:
            answer = session.get(f"{self._url}/exec", params={"query": statement, "nm": "true"}, auth=self._auth,
                                 verify=self._verify, timeout=timeout_s)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not answer: {_cause(error)}", UNREACHABLE) from error
        if answer.status_code in (401, 403):
            raise ConfigError(f"QuestDB at {self.addr} refuses the user",
                              "set sinks.questdb.user and sinks.questdb.password")
        try:
            body = decoder.decode(answer.content)
        except msgspec.DecodeError as error:
            status = f"HTTP {answer.status_code}: {answer.text[:200]!r}"
            raise ServiceUnavailable(f"QuestDB at {self.addr}: {status}") from error
        if body.error:
            raise ServiceUnavailable(f"QuestDB at {self.addr}: {body.error}: {statement[:200]}")
        return body

    def ensure(self, table: Table) -> None:
        """Make the table where it is missing; where it is there, check it and set its TTL.

        Raises ConfigError that names table and column, what is expected and found, and the statement that mends it.
        """
        self.exec(table.ddl(), DDL_TIMEOUT_S)
        found = {row[0]: (row[1], row[2]) for row in self.exec(
            f'SELECT "column", type, upsertKey FROM table_columns({text(table.name)})', DDL_TIMEOUT_S)}
        away = (f"or rename the table away (RENAME TABLE {table.name} TO {table.name}_old),"
                " or set sinks.questdb.table_prefix")
        for column, kind in table.columns:
            if column not in found:
                raise ConfigError(f"QuestDB table {table.name}: column {column} is missing, expected {kind}",
                                  f"ALTER TABLE {table.name} ADD COLUMN {column} {kind}, {away}")
            if found[column][0] != kind:
                raise ConfigError(f"QuestDB table {table.name}: column {column} is {found[column][0]}, expected {kind}",
                                  f"ALTER TABLE {table.name} ALTER COLUMN {column} TYPE {kind}, {away}")
        keys = {column for column, (_, key) in found.items() if key}
        if keys != set(table.keys):
            raise ConfigError(f"QuestDB table {table.name}: deduplicates on {', '.join(sorted(keys)) or 'nothing'},"
                              f" expected {', '.join(table.keys)}",
                              f"ALTER TABLE {table.name} DEDUP ENABLE UPSERT KEYS({', '.join(table.keys)}), {away}")
        if table.ttl_days is not None:
            self._set_ttl(table.name, table.ttl_days)

    def _set_ttl(self, name: str, days: int) -> None:
        statement = f"SELECT ttlValue, ttlUnit FROM tables() WHERE table_name = {text(name)}"
        value, unit = self.exec(statement, DDL_TIMEOUT_S)[0]
        if value * HOURS.get(unit, 0) != days * 24:  # 7 days come back as 1 WEEK, none as 0 HOUR
            self.exec(f"ALTER TABLE {name} SET TTL {days} DAYS", DDL_TIMEOUT_S)


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests wraps urllib3 wraps the system's own error."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
