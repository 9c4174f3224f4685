"""HTTP: the server's own words in errors, no redirect followed, no endless answer read, nothing from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink, http
from pumpwatch_plugins.sinks.questdb.http import Server

from pumpwatch.errors import PumpWatchError, ServiceUnavailable
from tests.questdb_server import QuestDBServer
from tests.sinks.stores import CATALOGUE, EVENT, HEALTH, listing_at, names
from tests.sinks.stub_server import StubServer
from tests.trades import batch_of


def test_a_statement_that_is_rejected_is_an_error_of_ours_and_has_the_servers_own_words(sink: QuestDBSink) -> None:
    with pytest.raises(ServiceUnavailable) as error:
        sink._server.exec("SELECT nonsense FROM")
    assert "HTTP 400" in error.value.message
    assert "SELECT nonsense FROM" in error.value.message
    assert "please report" in error.value.hint


@pytest.fixture
def elsewhere() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


def test_a_redirect_is_not_followed(elsewhere: StubServer, questdb_server: QuestDBServer, prefix: str) -> None:
    questdb_server.sql(f"CREATE TABLE {prefix}precious (a INT)")
    elsewhere.location = f"http://{questdb_server.addr}/exec?query=DROP%20TABLE%20{prefix}precious"
    sink = QuestDBSink(QuestDBOptions(addr=elsewhere.addr))
    for call in (sink.open, sink.keeping, sink.trouble, lambda: sink.read(names(), 0, 1, CATALOGUE),
                 lambda: sink.write_health([HEALTH])):
        with pytest.raises(ServiceUnavailable, match="redirect"):
            call()
    with requests.Session() as session, pytest.raises(ServiceUnavailable, match="/write with a redirect"):
        sink._server.write(session, b"t a=1 1\n")
    with pytest.raises(ServiceUnavailable, match="/settings with a redirect"):
        sink._server.protocol_versions()
    assert questdb_server.count(f"{prefix}precious") == 0


def test_a_rejected_listing_is_not_a_server_that_is_away(questdb_server: QuestDBServer) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix="none_of_these_"))
    with pytest.raises(PumpWatchError, match="rejects a statement") as caught:
        sink.write_listing(listing_at(1), EVENT)
    assert not isinstance(caught.value, ServiceUnavailable)


def test_no_proxy_stands_between_a_host_and_its_own_questdb(
        elsewhere: StubServer, questdb_server: QuestDBServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{elsewhere.addr}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    sink.open()
    assert sink.write(batch_of(10), CATALOGUE).accepted == 10
    sink.read(names(), 0, 2**62, CATALOGUE)
    assert elsewhere.asked == 0
    with pytest.raises(ServiceUnavailable):
        QuestDBSink(QuestDBOptions(addr="db.example.com:9000")).open()
    assert elsewhere.asked == 1, "another host is reached as the environment says"


def test_a_session_takes_nothing_from_the_environment_but_the_proxy_that_pumpwatch_takes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine db.example.com login me password secret\n", "utf-8")
    for name, value in (("NETRC", str(tmp_path / "netrc")), ("REQUESTS_CA_BUNDLE", "/nowhere"),
                        ("HTTP_PROXY", "http://u:p%2Fw@proxy:1"), ("NO_PROXY", "near.example.com")):
        monkeypatch.setenv(name, value)
    far, near = (Server(QuestDBOptions(addr=f"{name}.example.com:9000")).session() for name in ("db", "near"))
    for session in (far, near):
        asked = session.prepare_request(requests.Request("GET", "http://db.example.com:9000/exec"))
        assert "Authorization" not in asked.headers
        assert session.merge_environment_settings(asked.url, {}, False, None, None)["verify"] is True
    assert (far.proxies, near.proxies) == ({"http": "http://u:p%2Fw@proxy:1", "https": "http://u:p%2Fw@proxy:1"}, {})


def test_an_answer_has_a_limit(questdb_server: QuestDBServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(QuestDBOptions(addr=questdb_server.addr))
    monkeypatch.setattr(http, "ANSWER_BYTES", 100)
    monkeypatch.setattr(http, "NOTE_BYTES", 100)
    assert server.exec("SELECT 1") == [[1]]
    for call in (lambda: server.exec("SELECT x FROM long_sequence(1000)"), server.protocol_versions):
        with pytest.raises(ServiceUnavailable, match="more than 100 bytes"):
            call()


def test_the_server_names_its_protocol_versions(questdb_server: QuestDBServer) -> None:
    assert 2 in Server(QuestDBOptions(addr=questdb_server.addr)).protocol_versions()
