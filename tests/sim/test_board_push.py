"""A board's WebSocket: the real source against it, a connection cut just before a notice, and a key that is revoked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pumpwatch_plugins.simulators.upbit import KEY
from pumpwatch_plugins.sources.upbitws import Options, listen, parse

from pumpwatch.errors import ServiceUnavailable, UsageError
from pumpwatch.model import Notice
from pumpwatch.net.messages import TextSocket
from pumpwatch.net.ws import Dialer, tls_context
from pumpwatch.sim.process import SimProcess


class Client:
    """The real source with a real connection, in a thread of its own."""

    def __init__(self, sim: SimProcess, options: Options) -> None:
        self.options, self._address = options, sim.addresses["boards"]["upbit_announcements"]["url"]
        self._dialer = Dialer(tls_context(sim.addresses["ca_file"]), 10.0)
        self.up, self.ended = threading.Event(), threading.Event()
        self.came = threading.Event()
        self.delivered: list[bytes] = []
        self.reason = ""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            listen(self._address, self)
        except ServiceUnavailable as error:
            self.reason = error.message
        self.ended.set()

    def connected(self) -> None:
        self.up.set()

    def deliver(self, body: bytes) -> bool:
        self.delivered.append(body)
        self.came.set()
        return True

    def open_websocket(self, url: str, headers: Any) -> TextSocket:
        return TextSocket(self._dialer.open(url, headers))


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=["binance.spot"], symbols=2, rate=1, paused=True) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_fault(sim: SimProcess) -> Iterator[None]:
    yield
    sim.ask("board_fault", board="upbit", fault="none")


def key() -> Options:
    return Options(**KEY)


def test_a_notice_and_its_edit_are_sent_once_each(sim: SimProcess) -> None:
    client = Client(sim, key())
    assert client.up.wait(60)
    number = sim.publish(sim.addresses["coins"][0])["number"]
    assert client.came.wait(60)
    (notice,) = parse(client.delivered[0])
    assert isinstance(notice, Notice) and notice.notice_id == str(number) and "<table>" in notice.body
    client.came.clear()
    sim.ask("edit", board="upbit", number=number, suffix=" (안내)")
    assert client.came.wait(60)
    (edited,) = parse(client.delivered[1])
    assert isinstance(edited, Notice) and edited.title == f"{notice.title} (안내)" and len(client.delivered) == 2


def test_a_connection_may_be_cut_just_before_a_notice(sim: SimProcess) -> None:
    client = Client(sim, key())
    assert client.up.wait(60)
    sim.ask("board_fault", board="upbit", fault="ws_cut")
    sim.publish(sim.addresses["coins"][1])
    assert client.ended.wait(60)
    assert client.reason and client.delivered == []


def test_a_revoked_key_ends_the_connection_and_is_accepted_no_more(sim: SimProcess) -> None:
    client = Client(sim, key())
    assert client.up.wait(60)
    sim.ask("board_fault", board="upbit", fault="key_revoked")
    assert client.ended.wait(60)
    second = Client(sim, key())
    assert second.ended.wait(60)
    assert "HTTP 401" in second.reason and KEY["access_key"] not in second.reason and not second.up.is_set()
    assert sim.status()["boards"]["upbit"]["push"]["rejected"] >= 1


def test_another_key_is_not_accepted(sim: SimProcess) -> None:
    client = Client(sim, Options(access_key="other", secret_key="other"))
    assert client.ended.wait(60) and "HTTP 401" in client.reason


def test_a_fault_has_a_name_and_a_board_without_a_websocket_refuses_one(sim: SimProcess) -> None:
    with pytest.raises(UsageError, match="no fault"):
        sim.ask("board_fault", board="upbit", fault="ws_gone")
    url = sim.addresses["boards"]["bithumb"]["url"].replace("https", "wss")
    with pytest.raises(ServiceUnavailable, match="HTTP"):
        Dialer(ssl.create_default_context(cafile=sim.addresses["ca_file"]), 10.0).open(url, {})
