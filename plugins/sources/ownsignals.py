"""A user's own signals: JSON files dropped into a folder, and POST requests to this machine with a token.

A signal is a JSON object: `coin` or `coins` (tickers) and optionally `id` (text; the same id means the same signal), `title`,
`url`, and `published_at` (ISO 8601 with an offset; by default the time of the file or request). Other keys are rejected, and so
is a time more than OLDEST_S ago or in the future.

Folder: put files with names ending in `.json` there, by renaming complete files. A file is removed once its signal is durable. A
rejected file is renamed to `.rejected`, with a line in the log. Only regular files of at most 64 KiB are read, no links or pipes.
HTTP: POST / on 127.0.0.1:PORT with `Authorization: Bearer TOKEN`. Answers: 202 once the signal is durable, 400 with the reason,
401, 413, and 503 if it could not be made durable: send it again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent.pywsgi import WSGIServer

from pumpwatch import BadFrame, Notice, PushLink, PushSource, ServiceUnavailable, Verdict, hookimpl, time_ns

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LOOK_S = 0.5
LARGEST_BYTES = 65_536
FILES_PER_LOOK = 100
MOST_COINS = 10
OLDEST_S, AHEAD_S = 600, 5
SHORTEST_TOKEN = 16
STATUS = {202: "202 Accepted", 400: "400 Bad Request", 401: "401 Unauthorized", 405: "405 Method Not Allowed",
          411: "411 Length Required", 413: "413 Content Too Large", 503: "503 Service Unavailable"}


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """The folder and the port for signals. Empty, or 0: not used. A port needs a token, here or in token_file."""

    folder: str = ""
    port: int = 0
    token: str = ""
    token_file: str = ""


class Signal(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a file or request."""

    coin: str = ""
    coins: list[str] = []
    id: str = ""
    title: str = ""
    url: str = ""
    published_at: str = ""


class Envelope(msgspec.Struct):
    """A signal for `parse`, with its time of arrival, which is the default of its own time."""

    at_ns: int
    signal: msgspec.Raw


_decode_signal = msgspec.json.Decoder(Signal).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode


def configured(options: Options) -> bool:
    """Return whether a folder or a port is configured."""
    return bool(options.folder or options.port)


def notice_of(body: bytes, at_ns: int) -> Notice:
    """Return the notice of a signal that arrived at at_ns. Raises BadFrame with the reason if it is invalid."""
    try:
        signal = _decode_signal(body)
        published_at_ns = time_ns(signal.published_at) if signal.published_at else at_ns
    except (msgspec.DecodeError, RecursionError, ValueError, OverflowError) as error:
        raise BadFrame(f"not a signal: {error}") from error
    coins = tuple(coin.strip().upper() for coin in (*((signal.coin,) if signal.coin else ()), *signal.coins))
    if not 1 <= len(coins) <= MOST_COINS:
        raise BadFrame(f"not a signal: give 1 to {MOST_COINS} coins, not {len(coins)}")
    for coin in coins:
        if not (coin.isascii() and coin.isalnum() and len(coin) <= 20):
            raise BadFrame(f"not a signal: a coin is 1 to 20 letters and digits, not {coin[:30]!r}")
    for name, text, most in (("id", signal.id, 100), ("title", signal.title, 2000), ("url", signal.url, 2000)):
        if len(text or "") > most or not (text or "").isprintable():
            raise BadFrame(f"not a signal: {name} is at most {most} printable characters")
    if published_at_ns < at_ns - OLDEST_S * 10**9:
        raise BadFrame(f"the signal is older than {OLDEST_S} s")
    if published_at_ns > at_ns + AHEAD_S * 10**9:
        raise BadFrame("the signal's time is ahead of this machine's clock")
    return Notice(source="own_signals", notice_id=signal.id or hashlib.sha256(b"%d " % at_ns + body).hexdigest()[:16],
                  title=signal.title or f"{', '.join(coins)}: a signal of your own", category="", url=signal.url,
                  published_at_ns=published_at_ns, updated_at_ns=published_at_ns, coins=tuple(dict.fromkeys(coins)),
                  raw=body.decode("utf-8", "replace"))


def parse(body: bytes) -> list[Notice]:
    """Return the notice of an envelope. Raises BadFrame if it is invalid."""
    try:
        envelope = _decode_envelope(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFrame(f"not a signal with its time of arrival: {error}") from error
    return [notice_of(bytes(envelope.signal), envelope.at_ns)]


def take_signal(body: bytes, link: PushLink, at_ns: int) -> bool:
    """Deliver a signal that arrived at at_ns; return whether it is durable. Raises BadFrame for an invalid one."""
    notice_of(body, at_ns)  # validates it here, so that the sender gets the reason
    if at_ns < time.time_ns() - OLDEST_S * 10**9:
        raise BadFrame(f"the signal is older than {OLDEST_S} s")
    return bool(link.deliver(b'{"at_ns":%d,"signal":%s}' % (at_ns, body)))


def read_file(path: Path) -> tuple[bytes, int]:
    """Return a regular file's content, and the time when it was written (ns). Does not wait for pipes or follow links.

    Raises OSError and BadFrame.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise BadFrame("not a regular file")
        if found.st_size > LARGEST_BYTES:
            raise BadFrame(f"{found.st_size} bytes, at most {LARGEST_BYTES} are read")
        return os.read(handle, LARGEST_BYTES), min(found.st_mtime_ns, time.time_ns())
    finally:
        os.close(handle)


class Folder:
    """The folder of dropped files. `look` takes the files that are there."""

    def __init__(self, path: str, link: PushLink) -> None:
        self._path, self._link = Path(path), link
        self._stuck: set[str] = set()  # names of rejected files that could not be renamed

    def look(self) -> None:
        """Take each file; a signal that could not be made durable stays for the next call.

        Raises ServiceUnavailable if the folder cannot be read.
        """
        try:
            names = sorted(entry.name for entry in self._path.iterdir() if entry.name.endswith(".json"))
        except OSError as error:
            raise ServiceUnavailable(f"{self._path}: {error.strerror}") from error
        for name in [name for name in names if name not in self._stuck][:FILES_PER_LOOK]:
            try:
                body, at_ns = read_file(self._path / name)
                if not take_signal(body, self._link, at_ns):
                    return
                (self._path / name).unlink(missing_ok=True)
            except FileNotFoundError:
                continue
            except BadFrame as error:
                self._reject(name, error.message)
            except OSError as error:
                self._reject(name, error.strerror or str(error))

    def _reject(self, name: str, reason: str) -> None:
        log.warning("signal rejected file=%r reason=%s", name[:100], json.dumps(reason[:300], ensure_ascii=True))
        for number in range(100):
            aside = self._path / f"{name.removesuffix('.json')}{f'.{number}' if number else ''}.rejected"
            try:
                if not os.path.lexists(aside):
                    (self._path / name).rename(aside)
                    return
            except OSError:
                break
        self._stuck.add(name)


Start = Callable[[str, list[tuple[str, str]]], Any]


class Requests:
    """The HTTP interface, as a WSGI application."""

    def __init__(self, token: str, link: PushLink) -> None:
        self._token, self._link = token, link

    def __call__(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        code, reason = self._answer(environ)
        start(STATUS[code], [("Content-Type", "application/json")])
        return [json.dumps({"reason": reason} if reason else {"taken": True}).encode() + b"\n"]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, str]:
        given = str(environ.get("HTTP_AUTHORIZATION", "")).removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
            log.warning("signal rejected by=http reason=wrong token")
            return 401, "wrong token"
        if environ.get("REQUEST_METHOD") != "POST":
            return 405, "POST a signal"
        length = str(environ.get("CONTENT_LENGTH") or "")
        if not length.isdecimal() or len(length) > 9:
            return 411, "the request has no Content-Length"
        if int(length) > LARGEST_BYTES:
            return 413, f"at most {LARGEST_BYTES} bytes"
        try:
            durable = take_signal(environ["wsgi.input"].read(int(length)), self._link, time.time_ns())
            return (202, "") if durable else (503, "not durable: send it again")
        except BadFrame as error:
            log.warning("signal rejected by=http reason=%s", json.dumps(error.message[:300], ensure_ascii=True))
            return 400, error.message


def token_of(options: Options) -> str:
    """Return the token for requests. Raises ServiceUnavailable if it is missing or too short."""
    token = options.token
    if options.token_file:
        try:
            token = Path(options.token_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ServiceUnavailable(f"{options.token_file}: cannot read the token: {type(error).__name__}") from None
    if len(token) < SHORTEST_TOKEN:
        raise ServiceUnavailable(f"the token for requests is shorter than {SHORTEST_TOKEN} characters")
    return token


def listen(url: str, link: PushLink) -> None:
    """Take signals until stopped. Raises ServiceUnavailable if the folder or the port cannot be used."""
    options = link.options
    folder = Folder(options.folder, link) if options.folder else None
    server = None
    try:
        if options.port:
            server = WSGIServer((HOST, options.port), Requests(token_of(options), link), log=None, error_log=None)
            server.start()
        up = False
        while True:
            if folder is not None:
                folder.look()
            if not up:
                up = True
                link.connected()
            gevent.sleep(LOOK_S)
    except OSError as error:
        raise ServiceUnavailable(f"{HOST}:{options.port}: {error.strerror or error}") from error
    finally:
        if server is not None:
            server.stop(timeout=1)


def verdict(title: str) -> Verdict:
    """Return an empty verdict, because a signal names its coins itself."""
    return Verdict("other")


OWN_SIGNALS = PushSource(name="own_signals", listen=listen, parse=parse, verdict=verdict, options=Options, configured=configured)


@hookimpl
def listing_sources() -> list[PushSource]:
    """Return the source of the user's own signals."""
    return [OWN_SIGNALS]
