"""Talk to a QuestDB server over HTTP: lines in, SQL out.

Measured on server 9.3.4: `/exec` takes GET only (405 for POST) and drops the connection where the address is longer
than 32 KB, so a statement must not grow with what it asks for. Redirects are not followed, whoever sends them: the sink
talks to the address in its config. No proxy stands between a host and its own loopback.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import requests

from pumpwatch import ConfigError, ServiceUnavailable, proxy_to

UNREACHABLE = "is QuestDB running there? `packaging/questdb start DIR` starts one"
OURS = "this is an error in PumpWatch and not in your setup: please report this line"
MIN_BYTES_PER_S = 2 << 20  # a write may take this much longer than the timeout
SHOWN = 200  # characters of a foreign text

# exchange, market_type, symbol, timestamp, sell, price, quantity, trade_id, sequence_number, received_at, flags
TradeRow = tuple[str, str, str, int, bool, float | None, float | None, str, int | None, int, int | None]


class StatementRefused(ServiceUnavailable):
    """The server does not take a statement: the next try will not fare better."""


class Answer(msgspec.Struct):
    """The part of a REST answer that is looked at."""

    dataset: list[list[Any]] = []
    error: str = ""


class TradesAnswer(msgspec.Struct):
    """The same for trades: rows of known types are read in half the time."""

    dataset: list[TradeRow] = []
    error: str = ""


class Refusal(msgspec.Struct):
    """The server's answer to lines that it rejects."""

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
        self._session = self.session()

    def session(self) -> requests.Session:
        """Return a new session; its proxy is the one that PumpWatch takes from the environment, nothing else is from there."""
        session = requests.Session()
        session.trust_env = False  # no .netrc, and no other certificates than those of the config
        if proxy := proxy_to(self._url):
            session.proxies = {"http": proxy, "https": proxy}
        return session

    def exec(self, statement: str, timeout_s: float | None = None) -> list[list[Any]]:
        """Run one statement and return its rows.

        Raises ServiceUnavailable, StatementRefused where the server does not take it, ConfigError where it refuses the user.
        """
        with self.session() as session:
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
        self._refuse_redirect(answer)
        try:
            refusal = REFUSAL.decode(answer.content)
        except msgspec.DecodeError:
            refusal = Refusal()
        if answer.status_code != 400 or refusal.line is None:
            reason = refusal.message or answer.text[:SHOWN]
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not take trades: HTTP {answer.status_code}: {reason}")
        return refusal.line - 1, " ".join(refusal.message.split("\n")[1:]) or refusal.message

    def _ask(self, session: requests.Session, statement: str, timeout_s: float, decoder: msgspec.json.Decoder[A]) -> A:
        try:
            answer = session.get(f"{self._url}/exec", params={"query": statement, "nm": "true"}, auth=self._auth,
                                 verify=self._verify, timeout=timeout_s, allow_redirects=False)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"QuestDB at {self.addr} does not answer: {_cause(error)}", UNREACHABLE) from error
        self._refuse_redirect(answer)
        if answer.status_code in (401, 403):
            raise ConfigError(f"QuestDB at {self.addr} refuses the user",
                              "set sinks.questdb.user and sinks.questdb.password")
        try:
            body = decoder.decode(answer.content)
        except msgspec.DecodeError as error:
            said = f"HTTP {answer.status_code}: {answer.text[:SHOWN]!r}"
            if answer.status_code == 400:
                raise self._refused(said, statement) from error
            raise ServiceUnavailable(f"QuestDB at {self.addr}: {said}") from error
        if body.error:
            raise self._refused(f"HTTP {answer.status_code}: {body.error}", statement)
        return body

    def _refused(self, said: str, statement: str) -> StatementRefused:
        missing = "table does not exist" in said
        return StatementRefused(f"QuestDB at {self.addr} rejects a statement: {said}: {statement[:SHOWN]}",
                                "a collector with this sink makes the table" if missing else OURS)

    def _refuse_redirect(self, answer: requests.Response) -> None:
        if 300 <= answer.status_code < 400:
            target = answer.headers.get("Location", "")[:SHOWN]
            raise ServiceUnavailable(f"QuestDB at {self.addr} answers with a redirect to {target!r}, which is not followed",
                                     "set sinks.questdb.addr to the server itself")


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests wraps urllib3 wraps the system's own error."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
