"""Talk to a QuestDB server over HTTP: SQL to `/exec`, rows to `/write`, its settings from `/settings`.

Measured on server 9.3.4: `/exec` accepts only GET (405 for POST) and drops the connection if the URL is longer than 32 KB, so the
length of a statement must be bounded. Redirects are not followed, and the size of every answer is limited: the sink talks only to
the address in its config. Loopback is reached without a proxy.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import msgspec
import requests
from pumpwatch_plugins.sinks.questdb.options import QuestDBOptions
from requests.auth import HTTPBasicAuth

from pumpwatch import ConfigError, ServiceUnavailable, proxy_to

UNREACHABLE = "is QuestDB running there? `packaging/questdb start DIR` starts one"
OURS = "this is a bug in PumpWatch, not in your setup: please report this line"
SHOWN = 200  # characters of a foreign text
MIN_BYTES_PER_S = 2 << 20  # extends the timeout of a write by its size, for slow networks
ANSWER_BYTES = 64 << 20  # largest answer to SQL; a page of trades takes 4 MB
NOTE_BYTES = 64 << 10  # largest other answer
READ_BYTES = 64 << 10  # of an answer at a time
EXPORT_S, EXPORTED_BYTES = 120.0, 1 << 20  # the server makes the whole file before it sends the first byte

# exchange, market_type, symbol, timestamp, sell, price, quantity, trade_id, sequence_number, received_at, flags
TradeRow = tuple[str, str, str, int, bool, float | None, float | None, str, int | None, int, int | None]


class StatementRejected(ServiceUnavailable):
    """The server rejects a statement; retrying does not help."""


class Answer(msgspec.Struct):
    """The used part of an answer to SQL."""

    dataset: list[list[Any]] = []
    error: str = ""


class TradesAnswer(msgspec.Struct):
    """The same for trades: rows with known types decode twice as fast."""

    dataset: list[TradeRow] = []
    error: str = ""


class Config(msgspec.Struct):
    """The used part of the server's configuration."""

    versions: list[int] = msgspec.field(default_factory=list, name="line.proto.support.versions")


class Settings(msgspec.Struct):
    """The answer of `/settings`."""

    config: Config = msgspec.field(default_factory=Config)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer that is not a redirect."""

    status: int
    body: bytes

    def shown(self) -> str:
        """Return the reply, shortened for a message."""
        return f"HTTP {self.status}: {self.body.decode('utf-8', 'replace')[:SHOWN]!r}"


ANSWER = msgspec.json.Decoder(Answer)
SETTINGS = msgspec.json.Decoder(Settings)
TRADES_ANSWER = msgspec.json.Decoder(TradesAnswer)
A = TypeVar("A", Answer, TradesAnswer)


class Server:
    """The HTTP interface of one QuestDB. Any thread may use it.

    `trades` keeps one connection per calling thread, which saves one of the five milliseconds of a short query.
    """

    def __init__(self, options: QuestDBOptions) -> None:
        self.addr = options.addr
        self._url = options.url
        self._auth = HTTPBasicAuth(options.user.encode(), options.password.encode()) if options.user else None
        self._verify: bool | str = options.ca_file or True
        self._timeout_s = options.request_timeout_ms / 1000
        self._sessions: dict[int, requests.Session] = {}  # of `trades`, by thread: gevent's sockets belong to one thread

    def session(self) -> requests.Session:
        """Return a new session. It uses nothing from the environment but PumpWatch's own choice of a proxy."""
        session = requests.Session()
        session.trust_env = False  # ignore .netrc and certificates of the environment
        if proxy := proxy_to(self._url):
            session.proxies = {"http": proxy, "https": proxy}
        return session

    def exec(self, statement: str, timeout_s: float | None = None) -> list[list[Any]]:
        """Run one statement and return its rows.

        Raises ServiceUnavailable; StatementRejected if the server rejects the statement; ConfigError if it rejects the user.
        """
        with self.session() as session:
            return self._ask(session, statement, timeout_s or self._timeout_s, ANSWER).dataset

    def export(self, statement: str, file: BinaryIO) -> None:
        """Write the rows of a SELECT to a file as Parquet. Raises ServiceUnavailable."""
        try:
            with self.session() as session, session.get(
                    f"{self._url}/exp", params={"query": statement, "fmt": "parquet"}, auth=self._auth, verify=self._verify,
                    timeout=self._timeout_s + EXPORT_S, allow_redirects=False, stream=True) as answer:
                if answer.status_code != 200 or "parquet" not in answer.headers.get("Content-Type", ""):
                    said = next(answer.iter_content(SHOWN), b"")
                    raise ServiceUnavailable(f"QuestDB at {self.addr} does not export: {Reply(answer.status_code, said).shown()}")
                file.writelines(answer.iter_content(EXPORTED_BYTES))
        except requests.RequestException as error:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not answer: {_cause(error)}", UNREACHABLE) from error

    def trades(self, statement: str) -> list[TradeRow]:
        """Run a SELECT of the columns of TradeRow, and return its rows."""
        thread = threading.get_native_id()
        if thread not in self._sessions:
            self._sessions[thread] = self.session()
        return self._ask(self._sessions[thread], statement, self._timeout_s, TRADES_ANSWER).dataset

    def protocol_versions(self) -> list[int]:
        """Return the versions of the line protocol that the server accepts; empty if it does not list them.

        Raises ServiceUnavailable, or ConfigError if the server rejects the user.
        """
        with self.session() as session:
            reply = self._request(session, "GET", "/settings", {}, self._timeout_s, NOTE_BYTES)
        self._check_login(reply)
        if reply.status == 404:
            return []
        try:
            if reply.status == 200:
                return SETTINGS.decode(reply.body).config.versions
        except msgspec.DecodeError as error:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not show its settings: {reply.shown()}") from error
        raise ServiceUnavailable(f"QuestDB at {self.addr} does not show its settings: {reply.shown()}")

    def write(self, session: requests.Session, rows: bytes) -> Reply:
        """Post lines with times in nanoseconds, and return the server's answer with any status.

        Raises ServiceUnavailable if the server does not answer in time, or redirects.
        """
        timeout_s = self._timeout_s + len(rows) / MIN_BYTES_PER_S
        return self._request(session, "POST", "/write", {"precision": "n"}, timeout_s, NOTE_BYTES, rows)

    def _ask(self, session: requests.Session, statement: str, timeout_s: float, decoder: msgspec.json.Decoder[A]) -> A:
        reply = self._request(session, "GET", "/exec", {"query": statement, "nm": "true"}, timeout_s, ANSWER_BYTES)
        self._check_login(reply)
        try:
            body = decoder.decode(reply.body)
        except msgspec.DecodeError as error:
            if reply.status == 400:
                raise self._rejected(reply.shown(), statement) from error
            raise ServiceUnavailable(f"QuestDB at {self.addr}: {reply.shown()}") from error
        if body.error:
            raise self._rejected(f"HTTP {reply.status}: {body.error}", statement)
        return body

    def _request(self, session: requests.Session, method: str, path: str, query: dict[str, str], timeout_s: float, most: int,
                 data: bytes | None = None) -> Reply:
        """Return the whole answer. Raises ServiceUnavailable without an answer, for a redirect, and beyond `most` bytes."""
        body = bytearray()
        try:
            with session.request(method, self._url + path, params=query, data=data, auth=self._auth, verify=self._verify,
                                 timeout=timeout_s, allow_redirects=False, stream=True) as answer:
                if 300 <= answer.status_code < 400:
                    target = answer.headers.get("Location", "")[:SHOWN]
                    raise ServiceUnavailable(
                        f"QuestDB at {self.addr} answers {path} with a redirect (HTTP {answer.status_code}) to {target!r},"
                        " which is not followed", "set sinks.questdb.addr to the server itself")
                for part in answer.iter_content(READ_BYTES):
                    body += part
                    if len(body) > most:
                        raise ServiceUnavailable(f"QuestDB at {self.addr} answers {path} with more than {most:,} bytes")
        except requests.RequestException as error:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not answer: {_cause(error)}", UNREACHABLE) from error
        return Reply(answer.status_code, bytes(body))

    def _check_login(self, reply: Reply) -> None:
        if reply.status in (401, 403):
            raise ConfigError(f"QuestDB at {self.addr} rejects the user",
                              "set sinks.questdb.user and sinks.questdb.password")

    def _rejected(self, said: str, statement: str) -> StatementRejected:
        missing = "table does not exist" in said
        return StatementRejected(f"QuestDB at {self.addr} rejects a statement: {said}: {statement[:SHOWN]}",
                                 "a collector with this sink creates the table" if missing else OURS)


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests wraps urllib3, which wraps the system's own error."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
