"""A user's own signals: files in a folder and requests with a token. A bad one gets one line and is never a listing."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.threadpool import ThreadPool
from pumpwatch_plugins.sources.ownsignals import (
    LARGEST_BYTES,
    OWN_SIGNALS,
    Folder,
    Options,
    Requests,
    configured,
    listen,
    notice_of,
    parse,
    token_of,
)

from pumpwatch.errors import BadFrame, ServiceUnavailable
from pumpwatch.listing.push_watch import PushWatch
from tests.listing.machine import Machine

NOW_NS = 1_790_000_000 * 10**9
TOKEN = "a-token-of-enough-length"


@dataclass
class Link:
    """A link that takes signals, or fails to."""

    options: Options = field(default_factory=Options)
    durable: bool = True
    delivered: list[bytes] = field(default_factory=list)
    connects: int = 0

    def connected(self) -> None:
        self.connects += 1

    def deliver(self, body: bytes) -> bool:
        self.delivered.append(body)
        return self.durable

    def open_websocket(self, url: str, headers: object) -> Any:
        raise AssertionError("not used")


def signal(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_it_is_off_until_a_folder_or_a_port_is_given() -> None:
    assert not configured(Options()) and configured(Options(folder="x")) and configured(Options(port=1))
    assert OWN_SIGNALS.exchange == OWN_SIGNALS.board == "" and OWN_SIGNALS.verdict is not None
    assert OWN_SIGNALS.verdict("KITE gets a KRW market").kind == "other"


def test_a_signal_names_its_coins_and_is_of_now_where_it_has_no_time() -> None:
    notice = notice_of(signal(coin="kite", coins=["ORDER", "KITE"], id="x1", title="mine", url="https://example.com"), NOW_NS)
    assert (notice.notice_id, notice.title, notice.coins, notice.url) == ("x1", "mine", ("KITE", "ORDER"), "https://example.com")
    assert notice.published_at_ns == notice.updated_at_ns == NOW_NS
    dated = notice_of(signal(coin="KITE", published_at="2026-09-21T23:13:00+09:00"), NOW_NS)
    assert dated.published_at_ns == NOW_NS - 20 * 10**9
    assert notice_of(signal(coin="KITE"), NOW_NS).notice_id != notice_of(signal(coin="KITE"), NOW_NS + 1).notice_id


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[]", b"null", b"KITE", b'{"coin":"KITE"', signal(coin=5), signal(coin="../x"), signal(coin="/"),
    signal(coin="\u00e9"), signal(coin="x" * 300), signal(coin="A B"), signal(coins=[]), signal(coins=["A"] * 11),
    signal(coin="KITE", price=5), signal(coin="KITE", id=5), signal(coin="KITE", published_at="yesterday"),
    signal(coin="KITE", published_at="2026-09-21T23:13:00"), signal(coin="KITE", published_at="2026-09-21T22:13:00+09:00"),
    signal(coin="KITE", published_at="2026-09-22T01:00:00+09:00"), b"[" * 100_000, b"\xff\xfe", signal(coin="\u202eKITE"),
    signal(coin="KITE", id="x" * 101), signal(coin="KITE", title="x" * 2001), signal(coin="KITE", title="a\nb")])
def test_anything_else_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(BadFrame) as caught:
        notice_of(body, NOW_NS)
    assert caught.value.message
    with pytest.raises(BadFrame):
        parse(b'{"at_ns":%d,"signal":%s}' % (NOW_NS, body))


def test_a_file_is_taken_once_and_removed(tmp_path: Path) -> None:
    link = Link()
    (tmp_path / "a.json").write_bytes(signal(coin="KITE", id="1"))
    (tmp_path / "b.json.partial").write_bytes(b"{")
    Folder(str(tmp_path), link).look()
    (notice,) = parse(link.delivered[0])
    assert notice.coins == ("KITE",) and [path.name for path in tmp_path.iterdir()] == ["b.json.partial"]


def test_a_file_that_is_not_durable_stays_and_is_the_same_signal_again(tmp_path: Path) -> None:
    link = Link(durable=False)
    (tmp_path / "a.json").write_bytes(signal(coin="KITE"))
    folder = Folder(str(tmp_path), link)
    folder.look()
    folder.look()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert len({parse(body)[0].notice_id for body in link.delivered}) == 1


def test_a_bad_file_is_set_aside_with_one_line_and_delays_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    link = Link()
    folder = Folder(str(tmp_path), link)
    (tmp_path / "0.json").mkdir()
    os.mkfifo(tmp_path / "1.json")
    (tmp_path / "2.json").symlink_to("/etc/hostname")
    (tmp_path / "3.json").write_bytes(b" " * (LARGEST_BYTES + 1))
    (tmp_path / "4.json").write_bytes(signal(coin="../x"))
    (tmp_path / "4.rejected").write_bytes(b"an earlier one")
    (tmp_path / "5.json").write_bytes(signal(coin="OLD"))
    os.utime(tmp_path / "5.json", (1_700_000_000, 1_700_000_000))
    (tmp_path / "9.json").write_bytes(signal(coin="KITE"))
    folder.look()
    folder.look()
    assert [parse(body)[0].coins for body in link.delivered] == [("KITE",)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0.rejected", "1.rejected", "2.rejected", "3.rejected", "4.1.rejected", "4.rejected", "5.rejected"]
    lines = [record.message for record in caplog.records]
    assert len(lines) == 6 and all(line.startswith("signal rejected file=") for line in lines)
    assert "older than 600 s" in lines[5]


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="No such file or directory"):
        listen("", Link(Options(folder=str(tmp_path / "missing"))))


def test_a_token_is_long_enough_to_be_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert token_of(Options(token_file=str(file))) == token_of(Options(token=TOKEN)) == TOKEN
    for options in (Options(), Options(token="short"), Options(token_file=str(tmp_path / "missing"))):
        with pytest.raises(ServiceUnavailable) as caught:
            token_of(options)
        assert "short" not in str(caught.value).replace("shorter", "")


@contextmanager
def listening(link: Link) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        link.options.port = free.getsockname()[1]
    greenlet = gevent.spawn(listen, "", link)
    try:
        with gevent.Timeout(60):
            while not link.connects:
                gevent.sleep(0.01)
        yield link.options.port
    finally:
        greenlet.kill()


def post(port: int, body: bytes, token: str = TOKEN, method: str = "POST") -> tuple[int, dict[str, Any]]:
    def ask() -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", body or None, {"Authorization": f"Bearer {token}"},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())
    found: tuple[int, dict[str, Any]] = ThreadPool(1).apply(ask)
    return found


def test_a_request_with_the_token_is_a_signal_and_any_other_gets_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    link = Link(Options(token=TOKEN))
    with listening(link) as port:
        assert post(port, signal(coin="KITE")) == (202, {"taken": True})
        assert post(port, signal(coin="../x"))[0] == 400
        assert post(port, signal(coin="KITE"), token="wrong") == (401, {"reason": "wrong token"})
        assert post(port, signal(coin="KITE"), method="PUT")[0] == 405
        assert post(port, b"")[0] in (400, 411)
        assert post(port, b" " * (LARGEST_BYTES + 1))[0] == 413
        link.durable = False
        assert post(port, signal(coin="KITE"))[0] == 503
    assert [parse(body)[0].coins for body in link.delivered] == [("KITE",)] * 2
    assert TOKEN not in caplog.text and caplog.text.count("wrong token") == 1


def test_a_request_without_a_length_is_refused() -> None:
    answered: list[str] = []
    environ = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "x" * 20}
    (body,) = Requests(TOKEN, Link())(environ, lambda status, headers: answered.append(status))
    assert answered == ["411 Length Required"] and b"Content-Length" in body


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1"):
            listen("", Link(Options(port=taken.getsockname()[1], token=TOKEN)))


def test_a_signal_opens_a_window_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.clock.advance((time.time_ns() - machine.clock.now_ns()) / 1e9)
    watch = PushWatch(OWN_SIGNALS, machine.context())
    body = b'{"at_ns":%d,"signal":%s}' % (machine.clock.now_ns(), signal(coins=["KITE", "ORDER"], id="1"))
    assert watch.deliver(body) and watch.deliver(body)
    assert [(listing.symbol, listing.source, listing.board) for listing in machine.seen] == [
        ("KITE", "own_signals", "own_signals"), ("ORDER", "own_signals", "own_signals")]
    machine.ledger.close()
