"""`check` finds what is wrong with this machine and the services."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import gevent
import msgspec
import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import Config, ExchangeConfig, PluginsConfig, StoreConfig, VenueConfig
from pumpwatch.config_listing import SourceConfig
from pumpwatch.hookspecs import PolledSource, Sink, SinkPlugin
from pumpwatch.ops import preflight
from pumpwatch.ops.preflight import Finding
from pumpwatch.plugins import Plugins, load_plugins
from tests.postgres_server import Database


class Answering(BaseHTTPRequestHandler):
    """Says 451 where the path has `forbidden`, else 200."""

    def do_GET(self) -> None:
        self.send_response(451 if "forbidden" in self.path else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def config_for(folder: Path, web: str, closed: str) -> Config:
    futures = VenueConfig(enabled=False)
    config = Config(store=StoreConfig(dir=str(folder / "data")), exchanges={
        name: ExchangeConfig(spot=VenueConfig(ws_url=f"ws://{closed}/ws", rest_url=web), futures=futures)
        for name in {venue.exchange for venue in load_plugins(Config()).venues}})
    config.listing.sources = {name: SourceConfig(url=f"{web}/notices") for name in config.listing.sources}
    return config


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def good_plugins() -> Plugins:
    plugins = load_plugins(Config())
    plugins.problems.clear()
    return plugins


def test_a_good_machine_has_nothing_that_fails(tmp_path: Path) -> None:
    findings = preflight.check(Config(store=StoreConfig(dir=str(tmp_path / "new" / "data"))), plugins=good_plugins())
    assert preflight.exit_code(findings) == 0
    named = by_name(findings)
    assert set(named) >= {"config", "plugins", "data folder", "free disk", "clock", "clock sync"}
    assert named["data folder"].detail.endswith("is writable, and will be created")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = preflight.check(Config(store=StoreConfig(dir=str(tmp_path / "file" / "data"))), plugins=good_plugins())
    assert by_name(findings)["data folder"].state == preflight.FAIL
    assert preflight.exit_code(findings) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    findings = preflight.check(Config(store=StoreConfig(dir=str(tmp_path / "data"))), plugins=good_plugins())
    assert "Permission denied" in by_name(findings)["data folder"].detail


def test_a_clock_that_was_never_set_is_found() -> None:
    assert next(iter(preflight._clock_findings(FakeClock(0)))).state == preflight.FAIL


def test_a_rejected_plugin_fails_the_check_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nowhere_to_be_found")
    findings = preflight.check(Config(plugins=PluginsConfig(folder=str(tmp_path)), store=StoreConfig(dir=str(tmp_path))))
    assert "nowhere_to_be_found" in by_name(findings)["plugin bad"].detail
    assert preflight.exit_code(findings) == 1


def test_a_section_that_no_plugin_offers_fails_the_check(tmp_path: Path) -> None:
    config = Config(exchanges={"binanse": ExchangeConfig()}, store=StoreConfig(dir=str(tmp_path)))
    finding = by_name(preflight.check(config, plugins=good_plugins()))["exchanges.binanse"]
    assert finding.state == preflight.FAIL
    assert "did you mean `binance`?" in finding.detail


def test_a_sinks_wrong_option_fails_the_check(tmp_path: Path) -> None:
    config = Config(sinks={"questdb": {"adr": "x"}}, store=StoreConfig(dir=str(tmp_path)))
    finding = by_name(preflight.check(config, plugins=good_plugins()))["sinks.questdb"]
    assert finding.state == preflight.FAIL
    assert "sinks.questdb.adr" in finding.detail


def test_connect_reaches_every_service_and_says_how_long_it_took(tmp_path: Path, web: str, closed: str) -> None:
    findings = preflight.check(config_for(tmp_path, web, closed), connect=True, plugins=good_plugins())
    named = by_name(findings)
    assert named["binance.spot REST"].state == preflight.OK
    assert named["listing upbit"].state == preflight.OK
    assert named["binance.spot REST"].ms is not None
    assert "binance.futures REST" not in named
    assert named["binance.spot WebSocket"].state == preflight.UNREACHABLE
    assert preflight.exit_code(findings) == 69


def test_connect_reports_a_service_that_rejects_this_address(tmp_path: Path, web: str, closed: str) -> None:
    config = config_for(tmp_path, web, closed)
    config.listing.sources = {name: SourceConfig(url=f"{web}/forbidden") for name in config.listing.sources}
    finding = by_name(preflight.check(config, connect=True, plugins=good_plugins()))["listing upbit"]
    assert finding.state == preflight.UNREACHABLE
    assert "451" in finding.detail
    assert "rejects requests from this address" in finding.hint


def test_connect_finds_a_sink_that_is_not_there(tmp_path: Path, web: str, closed: str) -> None:
    config = config_for(tmp_path, web, closed)
    config.sinks = {"questdb": {"addr": closed}}
    finding = by_name(preflight.check(config, connect=True, plugins=good_plugins()))["sink questdb"]
    assert finding.state == preflight.UNREACHABLE


def test_connect_names_the_server_and_the_schema_of_postgresql(tmp_path: Path, web: str, closed: str, postgres: Database) -> None:
    config = config_for(tmp_path, web, closed)
    config.sinks = {"postgres": {"dsn": postgres.dsn}}
    findings = [finding for finding in preflight.check(config, connect=True, plugins=good_plugins())
                if finding.name == "sink postgres"]
    assert findings[0].state == preflight.OK
    assert re.search(rf"^PostgreSQL at 127.0.0.1:\d+/{postgres.name}, version 1\d.*, without TimescaleDB: plain daily partitions,"
                     r" schema pumpwatch version \d+, and its tables are correct$", findings[0].detail)
    assert any(finding.state == preflight.WARN and "fsync is off" in finding.detail for finding in findings[1:])


def test_whatever_foreign_code_raises_is_a_finding_and_the_other_services_are_asked(
        tmp_path: Path, web: str, closed: str) -> None:
    class Options(msgspec.Struct):
        """None."""

    def create(_: Options) -> Sink:
        raise KeyError("no\n[such] thing")

    plugins = good_plugins()
    plugins.sinks = {"odd": SinkPlugin("odd", Options, create), **plugins.sinks}
    config = config_for(tmp_path, web, closed)
    config.sinks = {"odd": {}, "questdb": {"addr": closed}}
    named = by_name(preflight.check(config, connect=True, plugins=plugins))
    assert named["sink odd"].state == preflight.FAIL
    assert named["sink odd"].detail == r"its plugin raises KeyError: 'no\n[such] thing'"
    assert named["sink questdb"].state == preflight.UNREACHABLE


def test_services_are_asked_at_once_and_found_in_order(tmp_path: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asking, most = 0, 0

    def ask(name: str, _: Callable[[], str]) -> Finding:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        gevent.sleep(0.02 if "REST" in name else 0)  # the first ones answer last
        asking -= 1
        return Finding(name, preflight.OK, "")

    monkeypatch.setattr(preflight, "_reach", ask)
    config = config_for(tmp_path, f"http://{closed}", closed)
    names = [finding.name for finding in preflight.check(config, connect=True, plugins=good_plugins())]
    services = [name for name in names if name.endswith((" REST", " WebSocket")) or name.startswith("listing ")]
    venues = [f"{venue.name} {kind}" for venue, _ in good_plugins().chosen(config) for kind in ("REST", "WebSocket")]
    assert services == [*venues, *(f"listing {name}" for name, source in good_plugins().sources.items()
                                     if isinstance(source, PolledSource))]
    assert most == preflight.AT_ONCE


def test_a_failure_weighs_more_than_an_unreachable_service() -> None:
    lost = Finding("a", preflight.UNREACHABLE, "")
    assert preflight.exit_code([lost]) == 69
    assert preflight.exit_code([lost, replace(lost, state=preflight.FAIL)]) == 1
    assert preflight.exit_code([replace(lost, state=preflight.WARN)]) == 0
