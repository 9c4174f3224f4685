"""The channels of the config: services that apprise supports, signed webhooks, and commands.

A channel sends one event and returns whether it was taken. It blocks for at most `timeout_s` plus START_S. It never raises, and
never reveals a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.config_listing import ChannelConfig
from pumpwatch.errors import ConfigError
from pumpwatch.notify.child import UNKNOWN, EndedProgram, run_child
from pumpwatch.notify.events import AnyEvent, headline, text
from pumpwatch.notify.secret_values import hidden, secret_value
from pumpwatch.notify.sender import Request, SenderAnswer
from pumpwatch.printable import printable

SENDER = (sys.executable, "-P", "-m", "pumpwatch.notify.sender")  # -P: do not load a `requests.py` from the working directory
START_S = 30.0  # the sender may take this long to start on a busy machine; the channel's own time comes on top
TRY_AGAIN_CODE = 75  # EX_TEMPFAIL of sysexits.h: the command asks to be run again
SIGNATURE, TIMESTAMP, EVENT_ID = "X-PumpWatch-Signature", "X-PumpWatch-Timestamp", "X-PumpWatch-Event"


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of one attempt. again: another attempt may succeed."""

    taken: bool
    reason: str = ""
    again: bool = True


class Send(Protocol):
    """Send one event. Blocks."""

    def __call__(self, event: AnyEvent) -> Sent: ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of the config. kind: `url`, `webhook` or `command`."""

    name: str
    kind: str
    events: tuple[str, ...]
    drills: bool
    send: Send

    def wants(self, event: AnyEvent) -> bool:
        """Return whether this channel gets the event."""
        return event.kind == "test" or (event.kind in self.events and (self.drills or not event.drill))


def make_channels(config: Config, clock: Clock | None = None, environ: Mapping[str, str] | None = None) -> list[Channel]:
    """Return the channels of a config. Raises ConfigError, which reveals no secret, if one is invalid."""
    return [_make(name, part, config, clock or Clock(), os.environ if environ is None else environ)
            for name, part in config.notify.items()]


def _make(name: str, part: ChannelConfig, config: Config, clock: Clock, environ: Mapping[str, str]) -> Channel:
    def where(key: str = "") -> str:
        path = f"notify.{name}{key and f'.{key}'}"
        return f"{config.source.at(path)}: {path}"

    def value(key: str) -> str:
        folder = Path(config.source.name).absolute().parent if config.source.is_file else Path.cwd()
        return secret_value(getattr(part, key), where(key), folder, environ)

    given = [key for key in ("url", "webhook", "command") if getattr(part, key)]
    if len(given) != 1:
        raise ConfigError(f"{where()}: has {' and '.join(given) or 'no address'}",
                          "give one of url (an address of apprise), webhook, and command")
    environ = _with_proxy(environ, config.net.proxy)
    send: Callable[[AnyEvent], Sent]
    if part.command:
        if not part.command[0]:
            raise ConfigError(f"{where('command')}: names no program", "give a list: the program, then its arguments")
        send = partial(_run, tuple(part.command), part.timeout_s)
    elif part.webhook:
        url, secret = value("webhook"), value("secret")
        if not _is_web_address(url):
            raise ConfigError(f"{where('webhook')}: is not an address that begins with https:// or http://")
        if not secret:
            raise ConfigError(f"{where('secret')}: a webhook needs one, to sign what it gets",
                              "write ${NAME} for an environment variable or file:PATH for a file")
        send = partial(_post, Webhook(url, secret, config.net.ca_file), part.timeout_s, clock, environ)
    else:
        url = value("url")
        if "://" not in url:
            raise ConfigError(f"{where('url')}: is not an address of apprise", "see https://appriseit.com/services")
        send = partial(_send_by_apprise, url, part.timeout_s, environ, config.net.ca_file)
    return Channel(name, given[0], tuple(part.events), part.drills, send)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0 and url.isprintable()
    except ValueError:
        return False


def _with_proxy(environ: Mapping[str, str], proxy: str) -> dict[str, str]:
    """Return the environment of a sender: our own modules, and the proxy of the config, if any."""
    found = dict(environ) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if proxy:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
    return found


@dataclass(frozen=True, slots=True)
class Webhook:
    """The address to which events are posted, and the key that signs them."""

    url: str
    secret: str
    ca_file: str


def _post(webhook: Webhook, timeout_s: float, clock: Clock, environ: Mapping[str, str], event: AnyEvent) -> Sent:
    sent_at = clock.now_ns() // NS_PER_S
    body = msgspec.json.encode(msgspec.to_builtins(event) | {"sent_at": sent_at})
    headers = {"Content-Type": "application/json", "User-Agent": "PumpWatch", TIMESTAMP: str(sent_at),
               EVENT_ID: event.id.encode("ascii", "replace").decode(), SIGNATURE: signature(webhook.secret, body)}
    return _send(Request(url=webhook.url, timeout_s=timeout_s, body=body.decode(), headers=headers, ca_file=webhook.ca_file),
                 environ, (webhook.url, webhook.secret))


def signature(secret: str, body: bytes) -> str:
    """Return the signature of a body: `sha256=` and its HMAC-SHA256 in hexadecimal digits."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _send_by_apprise(url: str, timeout_s: float, environ: Mapping[str, str], ca_file: str, event: AnyEvent) -> Sent:
    return _send(Request(url=url, timeout_s=timeout_s, title=headline(event), text=text(event), ca_file=ca_file), environ, (url,))


def _send(request: Request, environ: Mapping[str, str], secrets: tuple[str, ...]) -> Sent:
    """Send a message in a sender process."""
    request.parent = os.getpid()
    try:
        ended = run_child(SENDER, msgspec.json.encode(request), request.timeout_s + START_S, environ)
    except OSError as error:
        return Sent(False, f"the sender cannot be started: {error.strerror}")
    if ended.code is None:
        return Sent(False, f"no answer within {request.timeout_s:g} s")
    try:
        answer = msgspec.json.decode(ended.output.rstrip().rpartition(b"\n")[2], type=SenderAnswer)
    except msgspec.DecodeError:
        answer = SenderAnswer(False, f"the sender failed: {_last_line(ended) or f'exit code {ended.code}'}")
    return Sent(answer.taken, printable(hidden(answer.reason, secrets)))


def _run(words: tuple[str, ...], timeout_s: float, event: AnyEvent) -> Sent:
    """Run a command with the event as JSON on its stdin."""
    try:
        ended = run_child(words, msgspec.json.encode(event) + b"\n", timeout_s)
    except (OSError, ValueError) as error:
        return Sent(False, f"cannot be started: {getattr(error, 'strerror', None) or error}", again=False)
    if ended.code is None:
        return Sent(False, f"not done within {timeout_s:g} s, and killed", again=False)
    if ended.code == 0:
        return Sent(True)
    if ended.code == UNKNOWN:
        return Sent(False, "ended, and another part of this process took its exit code", again=False)
    said = _last_line(ended)
    reason = f"exit code {ended.code}" if ended.code >= 0 else f"ended by signal {-ended.code}"
    return Sent(False, printable(f"{reason}{said and f': {said}'}"), again=ended.code == TRY_AGAIN_CODE)


def _last_line(ended: EndedProgram) -> str:
    lines = ended.output.decode("utf-8", "replace").split("\n")
    return printable(next((line.strip() for line in reversed(lines) if line.strip()), ""), 120)
