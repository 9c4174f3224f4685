"""Send trades through QuestDB's own client; find out which row an answer blames.

The client's authors take care of protocol versions, TLS and authentication. Retrying is ours: the drain keeps a batch until it
is stored, so the client is told never to retry and never to flush by itself. A failed flush leaves everything in doubt; sending
the batch again is harmless, since the table deduplicates. The client is imported by `open`, so that only a collector with
this sink pays for it.

Known limits of client 6.0.0: it follows a redirect of a POST (301, 302, 303) and then never returns, whatever its timeout. So
`open` asks for itself whether writes are redirected. It takes its proxy from the environment (ALL_PROXY, HTTPS_PROXY,
HTTP_PROXY, whichever comes first); a host that PumpWatch reaches directly is added to NO_PROXY.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec
from pumpwatch_plugins.sinks.questdb.http import UNREACHABLE, Server
from pumpwatch_plugins.sinks.questdb.lines import TradeLines
from pumpwatch_plugins.sinks.questdb.options import QuestDBOptions

from pumpwatch import Catalogue, ConfigError, ServiceUnavailable, TradeBatch, proxy_to

if TYPE_CHECKING:
    from questdb import QuestDBError, Sender

MIN_BYTES_PER_S = 2 << 20  # a write may take this much longer than the timeout; the client's own 100 KiB/s waits for minutes
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Refusal(msgspec.Struct):
    """The server's answer to lines that it rejects. `line` counts from 1."""

    message: str = ""
    line: int | None = None


REFUSAL = msgspec.json.Decoder(Refusal)
SHOWN_ANSWER = re.compile(r"(.*) \[id: [^\]]*\bline: ([0-9]+)\]", re.DOTALL)


class TradeSender:
    """One connection of the client, for one table. Belongs to the sink's thread."""

    def __init__(self, options: QuestDBOptions, server: Server, table: str) -> None:
        self._options, self._server = options, server
        self._lines = TradeLines(table)
        self._sender: Sender | None = None

    def open(self) -> None:
        """Connect. Raises ServiceUnavailable, or ConfigError where the client does not take the settings."""
        from questdb import Protocol, QuestDBError, QuestDBErrorCode, Sender

        self.close()
        self._server.check_writable()
        options = self._options
        host, _, port = options.addr.rpartition(":")
        login = {"username": options.user, "password": options.password} if options.user else {}
        roots = {"tls_roots": options.ca_file} if options.tls and options.ca_file else {}
        reach_directly(options.url, host)
        try:
            sender = Sender(Protocol.Https if options.tls else Protocol.Http, host, int(port), **login, **roots, auto_flush=False,
                            retry_timeout=0, request_timeout=options.request_timeout_ms, request_min_throughput=MIN_BYTES_PER_S)
            sender.establish()  # type: ignore[no-untyped-call]
        except QuestDBError as error:
            if error.code is QuestDBErrorCode.ConfigError:
                raise ConfigError(f"QuestDB at {options.addr}: {error}", "see sinks.questdb in the config") from error
            raise self._unavailable(error) from error
        self._sender = sender

    def send(self, batch: TradeBatch, catalogue: Catalogue) -> tuple[int, str] | None:
        """Send the batch in one request. None: stored. (row, reason): nothing is stored because of this row; -1: not known which.

        Raises ServiceUnavailable when the outcome is unknown, or the server rejects for another reason than a row.
        """
        if self._sender is None:
            raise ServiceUnavailable("the QuestDB sink is not open")
        from questdb import QuestDBError, QuestDBErrorCode

        buffer = self._sender.new_buffer()
        try:
            self._lines.add(buffer, batch, catalogue)
        except (QuestDBError, ValueError) as error:  # the client will not send one of these rows
            return -1, str(error)
        try:
            self._sender.flush(buffer, clear=False)
        except QuestDBError as error:
            blamed = blamed_row(str(error)) if error.code is QuestDBErrorCode.ServerFlushError else None
            if blamed is None:
                raise self._unavailable(error) from error
            return blamed
        return None

    def close(self) -> None:
        """Disconnect; what was not flushed is dropped."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close(flush=False)

    def _unavailable(self, error: QuestDBError) -> ServiceUnavailable:
        reason = str(error).removeprefix("Could not flush buffer: ")
        return ServiceUnavailable(f"QuestDB at {self._options.addr} does not accept trades: {reason}", UNREACHABLE)


def blamed_row(error: str) -> tuple[int, str] | None:
    """Return the row that the server's answer names, counted from 0, and why; None where it names none.

    The client shows the answer's JSON as it came, or as `message [id: e-1, code: invalid, line: 3]`, by its content type.
    """
    if shown := SHOWN_ANSWER.fullmatch(error):
        message, line = shown[1], int(shown[2])
    else:
        try:
            refusal = REFUSAL.decode(error[error.index("{"):error.rindex("}") + 1])
        except (ValueError, msgspec.DecodeError):
            return None
        if refusal.line is None:
            return None
        message, line = refusal.message, refusal.line
    return line - 1, " ".join(message.split("\n")[1:]) or message


def reach_directly(url: str, host: str) -> None:
    """Name the host in NO_PROXY where PumpWatch's own rules (see net.proxy) take the direct way and the client would not."""
    environ = os.environ
    if proxy_to(url) or not any(environ.get(name) or environ.get(name.lower()) for name in PROXIES):
        return
    listed = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    host = host.strip("[]")
    if host not in listed.split(","):
        listed = ",".join(filter(None, (listed, host)))
    environ["no_proxy"] = environ["NO_PROXY"] = listed  # the client looks at NO_PROXY first, we at no_proxy
