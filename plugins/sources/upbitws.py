"""Upbit's pushed announcements: a WebSocket for holders of an API key.

Checked 2026-11-27 against https://docs.upbit.com/kr/reference/websocket-announcement (available since 2026-08-31) and
https://docs.upbit.com/kr/reference/websocket-guide.
Address: wss://api.upbit.com/websocket/v1/private, with `Authorization: Bearer JWT`. The key needs no permission, only the address
of this machine among its allowed ones. Never send `Origin` there.
Subscribe: a ticket, `{"type": "announcement", "categories": [...], "include_body": true}`, a format. Without categories every
notice is sent, so a renamed category loses none. The request is not answered: silence is normal. An error is
`{"error": {"name": ..., "message": ...}}`, such as INVALID_AUTH. The text `PING` is answered with `{"status":"UP"}`.
Events: CREATED and UPDATED, as they happen. Nothing is sent again, so the list is read after each connect. `body` is null if it
is large. A notice may arrive earlier or later than in the list.
Names: the documents name type, categories, body and stream_type; the names of id, title, category and times are those of the
list, with common alternatives. A message without them is quarantined unchanged.
Limits: 5 connects a second, 5 requests a second, 100 a minute.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch import BadFrame, MessageSocket, Notice, PushLink, PushSource, ServiceUnavailable, hookimpl, time_ns

URL = "wss://api.upbit.com/websocket/v1/private"
PAGE = "https://upbit.com/service_center/notice?id={}"
ANSWER_S = 10.0  # for the first answer to PING
PING_S = 60.0
DEAD_S = 150.0  # without any message despite PINGs, the connection counts as dead
LARGEST_KEY_FILE_BYTES = 4096
DAY_NS = 86_400 * 10**9
EVENT_CATEGORIES = ("이벤트", "Event", "event")  # notices of these never open a market


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """The key: both parts here, or `key_file` with the access key in its first line and the secret key in its second."""

    access_key: str = ""
    secret_key: str = ""
    key_file: str = ""


class Message(msgspec.Struct):
    """A message; other keys are skipped."""

    type: str = ""
    status: str = ""
    error: dict[str, Any] | None = None
    event: str = ""
    id: int | str = ""
    uuid: int | str = ""
    announcement_id: int | str = ""
    title: str = ""
    category: str = ""
    first_listed_at: str | int = ""
    created_at: str | int = ""
    published_at: str | int = ""
    listed_at: str | int = ""
    updated_at: str | int = ""
    timestamp: int = 0  # ms
    body: str | None = None


_decode = msgspec.json.Decoder(Message).decode


def configured(options: Options) -> bool:
    """Return whether a key is configured."""
    return bool(options.key_file or (options.access_key and options.secret_key))


def key_of(options: Options) -> tuple[str, str]:
    """Return access key and secret key. Raises ServiceUnavailable, without any part of them in its text."""
    if not options.key_file:
        return options.access_key, options.secret_key
    try:
        with Path(options.key_file).open("rb") as file:
            lines = file.read(LARGEST_KEY_FILE_BYTES).decode("ascii").split()
    except OSError as error:
        raise ServiceUnavailable(f"{options.key_file}: cannot read the key: {error.strerror}") from None
    except UnicodeDecodeError:
        lines = []
    if len(lines) != 2:
        raise ServiceUnavailable(f"{options.key_file}: not a key: write the access key into the first line, the secret key into "
                                 "the second")
    return lines[0], lines[1]


def token(access_key: str, secret_key: str) -> str:
    """Return a JSON Web Token for one connection, signed with HMAC-SHA512."""
    parts = [base64.urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode()).rstrip(b"=") for part in (
        {"alg": "HS512", "typ": "JWT"}, {"access_key": access_key, "nonce": str(uuid.uuid4())})]
    signature = hmac.digest(secret_key.encode(), b".".join(parts), hashlib.sha512)
    return b".".join((*parts, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


def listen(url: str, link: PushLink) -> None:
    """Connect, subscribe, and hand over announcements until the connection ends.

    Raises ServiceUnavailable, without any part of the key in its text.
    """
    access_key, secret_key = key_of(link.options)
    bearer = token(access_key, secret_key)
    try:
        with link.open_websocket(url or URL, {"Authorization": f"Bearer {bearer}"}) as socket:
            _read(socket, link)
    except ServiceUnavailable as error:
        reason = error.message
        for secret in (bearer, access_key, secret_key):
            reason = reason.replace(secret, "***")
        if "HTTP 401" in reason:
            reason += " (is the key valid, and this machine's address among its allowed ones?)"
        raise ServiceUnavailable(reason) from None


def _read(socket: MessageSocket, link: PushLink) -> None:
    wanted = {"type": "announcement", "include_body": True}
    socket.send(json.dumps([{"ticket": str(uuid.uuid4())}, wanted, {"format": "DEFAULT"}]))
    socket.send("PING")
    up = False
    heard_s = time.monotonic()
    while True:
        body = socket.receive(PING_S if up else ANSWER_S)
        if body is not None:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > DEAD_S:
            raise ServiceUnavailable("the connection is silent, and PING gets no answer")
        else:
            socket.send("PING")
        if body is not None and (problem := problem_of(body)):
            raise ServiceUnavailable(problem)
        if not up:  # an error about the key or the subscription would have arrived by now
            up = True
            link.connected()
        if body is not None and not is_status(body):
            link.deliver(body)


def problem_of(body: bytes) -> str:
    """Return the error in a message, in one line; an empty text without one."""
    try:
        error = _decode(body).error
    except (msgspec.DecodeError, RecursionError):
        return ""
    return f"{error.get('name', 'error')}: {error.get('message', '')}" if error else ""


def is_status(body: bytes) -> bool:
    """Return whether a message only answers a PING."""
    try:
        message = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return bool(message.status) and not message.type


def parse(body: bytes) -> list[Notice | BadFrame]:
    """Return the announcement of a message, or an empty list for an event. Raises BadFrame for any other message."""
    try:
        message = _decode(body)
        number = str(message.id or message.announcement_id or message.uuid)
        first = message.first_listed_at or message.created_at or message.published_at
        last = message.listed_at or message.updated_at
        edited = message.event == "UPDATED"
        published_at_ns = _ns(first or last or message.timestamp)
        updated_at_ns = _ns(last or (message.timestamp if edited else 0) or first or message.timestamp)
    except (msgspec.DecodeError, RecursionError, ValueError, OverflowError) as error:
        raise BadFrame(f"not a message of Upbit: {error}") from error
    if message.type != "announcement" or not number or not message.title:
        raise BadFrame("not an announcement of Upbit: it has no id or no title")
    if message.category in EVENT_CATEGORIES:
        return []
    if not published_at_ns:
        raise BadFrame("an announcement of Upbit has no publication time")
    if edited and not first:
        published_at_ns -= DAY_NS  # the publication time is unknown, but an edit is never new
    return [Notice(source="upbit_announcements", notice_id=number, title=message.title, category=message.category,
                   published_at_ns=published_at_ns, updated_at_ns=updated_at_ns, url=PAGE.format(message.uuid or number),
                   body=message.body or "", raw=body.decode("utf-8", "replace"))]


def _ns(given: str | int) -> int:
    """Return a time in ns since 1970, from ISO 8601 (Korean time without an offset) or ms; 0 stays 0."""
    if isinstance(given, int):
        return given * 1_000_000
    return time_ns(given, 9 * 60) if given else 0


UPBIT_ANNOUNCEMENTS = PushSource(name="upbit_announcements", exchange="upbit", board="upbit", listen=listen, parse=parse,
                                 options=Options, configured=configured)


@hookimpl
def listing_sources() -> list[PushSource]:
    """Return Upbit's announcements."""
    return [UPBIT_ANNOUNCEMENTS]
