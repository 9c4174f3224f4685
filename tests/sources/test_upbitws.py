"""Upbit's announcements over a WebSocket: the key, what is connected when, messages, and against the simulated board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pumpwatch_plugins.sources.upbitws import (
    UPBIT_ANNOUNCEMENTS,
    URL,
    Options,
    configured,
    key_of,
    listen,
    parse,
    token,
)

from pumpwatch.errors import BadFrame, ServiceUnavailable
from pumpwatch.model import Notice

SECRET = Options(access_key="ACCESSKEY", secret_key="SECRETKEY")
FRAME: dict[str, Any] = {
    "type": "announcement", "event": "CREATED", "id": 6642, "uuid": "330345227",
    "title": "카이트(KITE) 신규 거래지원 안내 (KRW 마켓)",
    "category": "거래", "first_listed_at": "2026-10-06T20:36:26+09:00", "listed_at": "2026-10-06T20:36:26+09:00",
    "body": "<table>", "timestamp": 1_791_286_586_500, "stream_type": "REALTIME"}
SEEN_NS = 1_791_286_586 * 10**9


class Ended(Exception):
    """The script of a socket is over."""


@dataclass
class Link:
    """A link with one scripted socket: None means that nothing comes in time; an exception is raised."""

    script: list[bytes | Exception | None]
    options: Options = SECRET
    events: list[str] = field(default_factory=list)
    delivered: list[bytes] = field(default_factory=list)
    opened: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    refuse: str = ""

    def connected(self) -> None:
        self.events.append("connected")

    def deliver(self, body: bytes) -> bool:
        self.delivered.append(body)
        return True

    def open_websocket(self, url: str, headers: Mapping[str, str]) -> Link:
        self.opened.append((url, headers))
        if self.refuse:
            raise ServiceUnavailable(self.refuse.format(headers["Authorization"]))
        return self

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.events.append("closed")

    def send(self, text: str) -> None:
        self.events.append("PING" if text == "PING" else json.loads(text)[1]["type"])

    def receive(self, wait_s: float) -> bytes | None:
        if not self.script:
            raise Ended
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


def run(link: Link, url: str = "") -> Link:
    with pytest.raises(Ended):
        listen(url, link)
    return link


def body(**changes: Any) -> bytes:
    return json.dumps({**FRAME, **changes}, ensure_ascii=False).encode()


def test_it_is_off_without_a_key() -> None:
    assert not configured(Options()) and not configured(Options(access_key="x"))
    assert configured(SECRET) and configured(Options(key_file="/x"))
    assert (UPBIT_ANNOUNCEMENTS.board, UPBIT_ANNOUNCEMENTS.exchange, UPBIT_ANNOUNCEMENTS.verdict) == ("upbit", "upbit", None)


def test_it_is_up_once_the_server_has_answered_and_hands_over_announcements_alone() -> None:
    link = run(Link([b'{"status":"UP"}', body(), None, b'{"status":"UP"}', b"odd"]))
    assert link.events == ["announcement", "PING", "connected", "PING", "closed"]
    assert link.delivered == [body(), b"odd"]
    (url, headers), = link.opened
    assert url == URL and list(headers) == ["Authorization"]  # an Origin would limit us to a request in ten seconds
    assert run(Link([None]), "wss://127.0.0.1:1/x").opened[0][0] == "wss://127.0.0.1:1/x"


def test_a_server_that_does_not_answer_a_ping_counts_as_up_all_the_same() -> None:
    assert run(Link([None])).events == ["announcement", "PING", "PING", "connected", "closed"]


@pytest.mark.parametrize("error", ["INVALID_AUTH", "INVALID_PARAM"])
def test_an_error_instead_of_an_answer_is_never_a_connection(error: str) -> None:
    link = Link([json.dumps({"error": {"name": error, "message": "no"}}).encode()])
    with pytest.raises(ServiceUnavailable, match=f"{error}: no"):
        listen("", link)
    assert "connected" not in link.events and link.delivered == []


def test_no_part_of_the_key_is_in_an_error() -> None:
    for refuse in ("HTTP 401: bad {0}", "SECRETKEY and ACCESSKEY"):
        with pytest.raises(ServiceUnavailable) as caught:
            listen("", Link([], refuse=refuse))
        text = str(caught.value)
        assert "***" in text and "KEY" not in text and "ey" + "J" not in text
        assert ("is the key valid" in text) == ("401" in refuse)


def test_the_token_is_signed_and_never_the_same_twice() -> None:
    head, payload, signature = token("a", "s").split(".")
    assert token("a", "s") != f"{head}.{payload}.{signature}" and "=" not in head + payload + signature


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("ACCESS\nSECRET\n")
    assert key_of(Options(key_file=str(file))) == ("ACCESS", "SECRET")


@pytest.mark.parametrize("content", [b"", b"ACCESS", b"A\nB\nC", b"\xff\xfe", b"A B C " * 1000])
def test_a_file_that_is_not_a_key_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ServiceUnavailable, match="not a key") as caught:
        key_of(Options(key_file=str(file)))
    assert "ACCESS" not in str(caught.value)
    with pytest.raises(ServiceUnavailable, match="cannot read the key: No such file"):
        key_of(Options(key_file=str(tmp_path / "missing")))


def test_an_announcement_is_a_notice_with_its_body_and_its_raw_text() -> None:
    (notice,) = parse(body())
    assert isinstance(notice, Notice)
    assert (notice.notice_id, notice.title, notice.body, notice.category) == ("6642", FRAME["title"], "<table>", "거래")
    assert notice.published_at_ns == notice.updated_at_ns == SEEN_NS and notice.url.endswith("id=330345227")
    assert json.loads(notice.raw) == FRAME


@pytest.mark.parametrize(("changes", "published_ns", "updated_ns"), [
    ({"first_listed_at": "", "listed_at": "2026-10-06T20:36:26+09:00"}, SEEN_NS, SEEN_NS),
    ({"first_listed_at": "", "listed_at": "", "created_at": "2026-10-06T20:36:26"}, SEEN_NS, SEEN_NS),
    ({"first_listed_at": "", "listed_at": "", "created_at": SEEN_NS // 10**6}, SEEN_NS, SEEN_NS),
    ({"first_listed_at": "", "listed_at": ""}, SEEN_NS + 5 * 10**8, SEEN_NS + 5 * 10**8),
    ({"event": "UPDATED", "listed_at": ""}, SEEN_NS, SEEN_NS + 5 * 10**8),
    ({"event": "UPDATED", "first_listed_at": ""}, SEEN_NS - 86_400 * 10**9, SEEN_NS)])
def test_times_are_found_under_their_likely_names_and_an_edit_is_never_new(
        changes: dict[str, Any], published_ns: int, updated_ns: int) -> None:
    (notice,) = parse(body(**changes))
    assert isinstance(notice, Notice) and (notice.published_at_ns, notice.updated_at_ns) == (published_ns, updated_ns)


def test_other_names_of_the_id_and_a_missing_body_are_understood() -> None:
    (notice,) = parse(body(id="", announcement_id="77", body=None))
    assert isinstance(notice, Notice) and (notice.notice_id, notice.body) == ("77", "")
    assert parse(body(category="이벤트")) == []


@pytest.mark.parametrize("given", [
    b"", b"<html>", b"[]", b"null", b"{}", b'{"status":"UP"}', body(type="trade"), body(title=""), body(title=5),
    body(id="", uuid=""), body(first_listed_at="yesterday"), body(first_listed_at="", listed_at="", timestamp=0), b"[" * 100_000,
    body(first_listed_at="", listed_at="", timestamp="x"), body()[:60]])
def test_anything_else_is_refused(given: bytes) -> None:
    with pytest.raises(BadFrame):
        parse(given)
