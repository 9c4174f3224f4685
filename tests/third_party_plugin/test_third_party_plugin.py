"""An exchange plugin by a third party: a wheel of its own that is found in three ways and keeps the contract."""

from __future__ import annotations

import ast
import json
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

import pumpwatch
from pumpwatch.config import Config, PluginsConfig
from pumpwatch.errors import PluginError
from pumpwatch.model import Columns
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.plugin_kit.contract import check_plugin
from pumpwatch.plugins import load_plugins
from pumpwatch.venue import Venue
from tests import corpus, plugin_wheel
from tests.conftest import Cli
from tests.zipapp import Zipapp

HERE = Path(__file__).resolve().parent
FRAMES = HERE / "frames.jsonl"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plugin_wheel.build(HERE, tmp_path_factory.mktemp("third_party"))


@pytest.fixture(scope="module")
def venue() -> Venue:
    """The plugin's file, loaded in this process."""
    return load_plugins(Config(plugins=PluginsConfig(folder=str(HERE)))).venue("upbit.spot")


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    return {row["check"]: (row["state"], row["detail"]) for row in map(json.loads, done.stdout.splitlines())}


def test_installed_it_is_found_by_its_entry_point_and_keeps_the_contract(cli: Cli, wheel: Path, tmp_path: Path) -> None:
    installed = {"PYTHONPATH": str(plugin_wheel.install(wheel, tmp_path / "target"))}
    listed = {row["name"]: row for row in map(json.loads, cli("plugins", "list", "--json", env=installed).stdout.splitlines())}
    assert listed["upbit_trades"]["offers"] == ["venue upbit.spot"]
    assert listed["upbit_trades_simulator"]["offers"] == ["simulator upbit.spot"]
    checked = cli("plugins", "check", "upbit_trades", "--frames", FRAMES, "--json", env=installed)
    rows = rows_of(checked)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {state for state, _ in rows.values()} <= {"ok", "warn"}
    assert rows["round trip"][0] == "ok" and "trades sent and stored" in rows["round trip"][1]


def test_its_wheel_in_the_plugin_folder_is_enough(cli: Cli, wheel: Path, tmp_path: Path) -> None:
    config = tmp_path / "pumpwatch.yaml"
    config.write_text(yaml.safe_dump({"plugins": {"folder": str(wheel.parent)}}))
    decoded = cli("decode", "upbit.spot", FRAMES, "-c", config)
    assert decoded.returncode == 0, decoded.stderr
    assert [json.loads(line)["symbol"] for line in decoded.stdout.splitlines()] == ["KRW-BTC", "KRW-SOMI"]


def test_without_it_the_venue_is_unknown() -> None:
    with pytest.raises(PluginError, match=r"no plugin offers the venue `upbit\.spot`"):
        load_plugins(Config()).venue("upbit.spot")


def test_its_frames_are_trades_and_control(venue: Venue) -> None:
    decoder = Decoder(venue)
    trades = list(decoder.lines(FRAMES.read_bytes().splitlines()))
    assert decoder.refused == [] and decoder.controls == 3
    assert [(trade["symbol"], trade["side"], trade["price"], trade["quantity"], trade["trade_id"]) for trade in trades] == [
        ("KRW-BTC", "buy", 136500000.0, 0.00123456, "17321868001000001"), ("KRW-SOMI", "sell", 1148.0, 87.5, "17321868010230000")]
    assert [trade["timestamp"] for trade in trades] == [1732186800100000000, 1732186801023000000]


def test_the_last_trade_before_the_subscription_is_marked(venue: Venue) -> None:
    columns = Columns()
    venue.parse(b"[" + b",".join(FRAMES.read_bytes().splitlines()[:2]) + b"]", columns)
    assert columns.past == [0]


@corpus.needs_corpus
def test_the_recorded_market_list_gives_the_krw_market(venue: Venue) -> None:
    assert corpus.CORPUS is not None
    body = (corpus.CORPUS / "rest_symbols" / "upbit_market_all_20210417.json").read_bytes()
    listed = venue.parse_instruments([body])
    assert {instrument.symbol for instrument in listed} == {
        row["market"] for row in json.loads(body) if row["market"].startswith("KRW-")}
    assert {(instrument.symbol, instrument.base, instrument.quote) for instrument in listed} >= {
        ("KRW-BTC", "BTC", "KRW"), ("KRW-ETH", "ETH", "KRW")}


@corpus.needs_corpus
def test_recorded_history_gives_what_is_expected(venue: Venue) -> None:
    assert corpus.CORPUS is not None
    folder, columns = corpus.CORPUS / "rest_trades", Columns()
    venue.parse_history((folder / "upbit_trades_ticks_ccxt.json").read_bytes(), "USDT-BTC", columns)
    (expected,) = json.loads((folder / "upbit_trades_ticks_ccxt.expected.json").read_bytes())
    assert (columns.symbol, columns.trade_id) == ([expected["symbol"]], [int(expected["trade_id"])])
    assert [Decimal(repr(value)) for value in (columns.price[0], columns.quantity[0])] == [
        Decimal(expected["price"]), Decimal(expected["quantity"])]
    assert columns.sell == [expected["side"] == "sell"]
    assert [at * venue.timestamp_unit_ns for at in columns.timestamp] == [expected["timestamp_ns"]]


@corpus.needs_corpus
def test_a_history_from_the_time_without_ids_is_rejected(venue: Venue) -> None:
    assert corpus.CORPUS is not None
    with pytest.raises(ValueError, match="sequential_id"):
        venue.parse_history((corpus.CORPUS / "rest_trades" / "upbit_trades_ticks_xchange_2018.json").read_bytes(), "BTC-ETH",
                            Columns())


def test_it_imports_only_public_names_of_pumpwatch() -> None:
    for file in HERE.glob("pumpwatch_*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pumpwatch":
                assert node.module == "pumpwatch" and {alias.name for alias in node.names} <= set(pumpwatch.__all__)


def test_a_plugin_that_takes_sellers_for_buyers_fails_in_the_round_trip(tmp_path: Path) -> None:
    """No frame alone shows this mistake. Both files are in the plugin folder."""
    for file in HERE.glob("pumpwatch_*.py"):
        (tmp_path / file.name).write_text(file.read_text("utf-8").replace('trade.ask_bid == "ASK"', 'trade.ask_bid == "BID"'))
    rows = {row.check: row for row in check_plugin("pumpwatch_upbit_trades", Config(plugins=PluginsConfig(folder=str(tmp_path))))}
    assert [name for name, row in rows.items() if row.state == "fail"] == ["history and stream agree", "round trip"]
    assert "are not stored" in rows["round trip"].detail and "'buy'" in rows["round trip"].detail


def test_the_zipapp_finds_its_wheel_in_the_plugin_folder_and_makes_the_round_trip(
        zipapp: Zipapp, wheel: Path, tmp_path: Path) -> None:
    done = zipapp.run("plugins", "check", "upbit_trades", "--json", folder=tmp_path,
                      PUMPWATCH_PLUGINS__FOLDER=str(wheel.parent))
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_of(done)["round trip"][0] == "ok"
