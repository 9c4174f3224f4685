"""Talk SQL to a QuestDB server over HTTP.

Measured on server 9.3.4: `/exec` takes GET only (405 for POST) and drops the connection where the address is longer than
32 KB, so a statement must not grow with the question. Redirects are not followed: the sink talks to the address in its
config. A host reaches its own loopback without a proxy.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import requests
from pumpwatch_plugins.sinks.questdb.options import QuestDBOptions

from pumpwatch import ConfigError, ServiceUnavailable, proxy_to

UNREACHABLE = "is QuestDB running there? `packaging/questdb start DIR` starts one"
OURS = "this is an error in PumpWatch and not in your setup: please report this line"
SHOWN = 200  # characters of a foreign text

# exchange, market_type, symbol, timestamp, sell, price, quantity, trade_id, sequence_number, received_at, flags
TradeRow = tuple[str, str, str, int, bool, float | None, float | None, str, int | None, int, int | None]


class StatementRejected(ServiceUnavailable):
    """The server rejects a statement; trying again will not help."""


class Answer(msgspec.Struct):
    """The part of a REST answer that is used."""

    dataset: list[list[Any]] = []
    error: str = ""


class TradesAnswer(msgspec.Struct):
    """The same for trades: rows of known types are decoded in half the time."""

    dataset: list[TradeRow] = []
    error: str = ""


ANSWER = msgspec.json.Decoder(Answer)
TRADES_ANSWER = msgspec.json.Decoder(TradesAnswer)
A = TypeVar("A", Answer, TradesAnswer)


class Server:
    """The SQL side of one QuestDB; cooperative where sockets are, in any thread.

    `exec` may be called in any thread. `trades` belongs to the greenlets of one thread: it keeps its connection, which saves one
    of the five milliseconds of a short query.
    """

    def __init__(self, options: QuestDBOptions) -> None:
        self.addr = options.addr
        self._url = options.url
        self._auth = (options.user, options.password) if options.user else None
        self._verify: bool | str = options.ca_file or True
        self._timeout_s = options.request_timeout_ms / 1000
        self._session = self.session()

    def session(self) -> requests.Session:
        """Return a new session. From the environment it takes only the proxy that PumpWatch itself would use."""
        session = requests.Session()
        session.trust_env = False  # neither .netrc, nor certificates that the config does not name
        if proxy := proxy_to(self._url):
            session.proxies = {"http": proxy, "https": proxy}
        return session

    def exec(self, statement: str, timeout_s: float | None = None) -> list[list[Any]]:
        """Run one statement and return its rows.

        Raises ServiceUnavailable, StatementRejected where the server rejects it, ConfigError where it rejects the user.
        """
        with self.session() as session:
            return self._ask(session, statement, timeout_s or self._timeout_s, ANSWER).dataset

    def trades(self, statement: str) -> list[TradeRow]:
        """Run a SELECT of whole trades."""
        return self._ask(self._session, statement, self._timeout_s, TRADES_ANSWER).dataset

    def check_writable(self) -> None:
        """Write nothing, to see that writing is possible and not redirected. Raises ServiceUnavailable or ConfigError."""
        with self.session() as session:
            answer = self._request(session, "POST", "/write", {"precision": "n"}, self._timeout_s)
        if not answer.ok:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not accept trades: {_shown(answer)}")

    def _ask(self, session: requests.Session, statement: str, timeout_s: float, decoder: msgspec.json.Decoder[A]) -> A:
        answer = self._request(session, "GET", "/exec", {"query": statement, "nm": "true"}, timeout_s)
        try:
            body = decoder.decode(answer.content)
        except msgspec.DecodeError as error:
            if answer.status_code == 400:
                raise self._rejected(_shown(answer), statement) from error
            raise ServiceUnavailable(f"QuestDB at {self.addr}: {_shown(answer)}") from error
        if body.error:
            raise self._rejected(f"HTTP {answer.status_code}: {body.error}", statement)
        return body

    def _request(self, session: requests.Session, method: str, path: str, query: dict[str, str],
                 timeout_s: float) -> requests.Response:
        """Return the answer; raise ServiceUnavailable where there is none or it redirects, ConfigError for a wrong login."""
        try:
            answer = session.request(method, self._url + path, params=query, auth=self._auth, verify=self._verify,
                                     timeout=timeout_s, allow_redirects=False)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not answer: {_cause(error)}", UNREACHABLE) from error
        if 300 <= answer.status_code < 400:
            target = answer.headers.get("Location", "")[:SHOWN]
            raise ServiceUnavailable(f"QuestDB at {self.addr} answers with a redirect to {target!r}, which is not followed",
                                     "set sinks.questdb.addr to the server itself")
        if answer.status_code in (401, 403):
            raise ConfigError(f"QuestDB at {self.addr} rejects the user",
                              "set sinks.questdb.user and sinks.questdb.password")
        return answer

    def _rejected(self, said: str, statement: str) -> StatementRejected:
        missing = "table does not exist" in said
        return StatementRejected(f"QuestDB at {self.addr} rejects a statement: {said}: {statement[:SHOWN]}",
                                 "a collector with this sink creates the table" if missing else OURS)


def _shown(answer: requests.Response) -> str:
    return f"HTTP {answer.status_code}: {answer.text[:SHOWN]!r}"


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests wraps urllib3, which wraps the system's own error."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
