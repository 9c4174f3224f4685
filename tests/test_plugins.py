"""Plugins are found where they are installed and in the folder; a bad one is left out and named."""

from __future__ import annotations

import configparser
import logging
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.config import Config, ExchangeConfig, PluginsConfig, VenueConfig
from pumpwatch.config_listing import ListingConfig
from pumpwatch.errors import ConfigError, PluginError
from pumpwatch.hookspecs import PushSource
from pumpwatch.plugins import Plugins, load_plugins

SINK = '''
import msgspec
from pumpwatch import SinkPlugin, hookimpl

class Options(msgspec.Struct, forbid_unknown_fields=True):
    path: str = ""

@hookimpl
def sinks():
    return [SinkPlugin("{name}", Options, lambda options: None)]
'''

MISSPELT = '''
from pumpwatch import hookimpl

@hookimpl
def exchange_venue():
    return []
'''

LACKS_A_FACT = '''
from pumpwatch import Limits

LIMITS = Limits(symbols_per_connection=10, symbols_per_message=10, message_bytes=1000, connection_bytes=0,
                subscriptions_per_hour=0, connects_per_second=1.0, messages_per_second=1.0,
                connects_per_5_minutes=10, connection_age_s=100.0, request_window_s=60.0,
                shared_by_markets=False)
'''


@pytest.fixture
def clean_path() -> Iterator[None]:
    """Take wheels out of the import path again."""
    before = list(sys.path)
    yield
    sys.path[:] = before


def load_from(folder: Path, *disabled: str, **files: str) -> Plugins:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return load_plugins(Config(plugins=PluginsConfig(folder=str(folder), disabled=list(disabled))))


def reason_for(plugins: Plugins, name: str) -> str:
    return dict(plugins.problems)[name]


def make_wheel(folder: Path, name: str, module: str, extra: str = "", point: str = "") -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", module)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/entry_points.txt", f"[pumpwatch.plugins]\n{point or name} = {name}\n")
        if extra:
            wheel.writestr(extra, b"")
    return path


def test_what_ships_is_found_by_its_entry_points_and_all_of_it_is_good() -> None:
    plugins = load_plugins(Config())
    assert plugins.problems == []
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parent.parent / "setup.cfg", "utf-8")
    points = setup["options.entry_points"]["pumpwatch.plugins"].split("\n")
    assert {row["name"] for row in plugins.describe()} == {point.split(" = ")[0] for point in points if point}
    assert plugins.venue("binance.spot").market_type == "spot"
    assert plugins.source("upbit").name == "upbit" and set(plugins.sources) == set(ListingConfig().sources)
    assert set(plugins.sinks) == {"postgres", "questdb"}
    polled = {name for name, source in plugins.sources.items() if not isinstance(source, PushSource)}
    assert {dialect.name for dialect in plugins.dialects} == {venue.name for venue in plugins.venues} | polled


def test_a_file_in_the_folder_is_a_plugin(tmp_path: Path) -> None:
    plugins = load_from(tmp_path, mine=SINK.format(name="mine"))
    assert plugins.sinks["mine"].options().path == ""
    assert plugins.problems == []


def test_a_wheel_in_the_folder_is_a_plugin(tmp_path: Path, clean_path: None) -> None:
    make_wheel(tmp_path, "pw_wheel_sink", SINK.format(name="wheeled"))
    plugins = load_from(tmp_path)
    assert "wheeled" in plugins.sinks
    assert plugins.problems == []


def test_a_wheel_with_compiled_code_and_a_broken_one_are_named(tmp_path: Path, clean_path: None) -> None:
    compiled = make_wheel(tmp_path, "pw_compiled", SINK.format(name="compiled"), extra="pw_compiled/fast.so")
    (tmp_path / "broken-1.0-py3-none-any.whl").write_bytes(b"PK nothing")
    plugins = load_from(tmp_path)
    assert "install it with pip" in reason_for(plugins, compiled.name)
    assert "not a readable wheel" in reason_for(plugins, "broken-1.0-py3-none-any.whl")


@pytest.mark.parametrize(("text", "says"), [
    (MISSPELT, "`exchange_venue` is not a hook; did you mean `exchange_venues`?"),
    (LACKS_A_FACT, "requests_per_minute"),
    ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
    ("1 / 0", "ZeroDivisionError"),
    ("def broken(:", "SyntaxError"),
    ("raise SystemExit(3)", "SystemExit"),
    ("x = 1", "implements no hook"),
    ("from pumpwatch import hookimpl\n@hookimpl\ndef sinks(): return 5", "sinks must return a list, not int"),
    ("from pumpwatch import hookimpl\n@hookimpl\ndef sinks(): return [5]", "sinks must return SinkPlugin values"),
    ("from pumpwatch import hookimpl\n@hookimpl\ndef sinks(config): return []", "config"),
    (SINK.format(name="questdb"), "sink `questdb` is already offered by the plugin `questdb`"),
])
def test_a_bad_plugin_is_named_with_the_reason_and_the_rest_runs_on(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, says: str) -> None:
    with caplog.at_level(logging.WARNING):
        plugins = load_from(tmp_path, bad=text, good=SINK.format(name="good"))
    assert says in reason_for(plugins, "bad")
    assert "name=bad" in caplog.text
    assert "good" in plugins.sinks
    assert plugins.venue("binance.spot")
    rows = {row["name"]: row for row in plugins.describe()}
    assert rows["bad"]["status"] == "refused"
    assert rows["bad"]["reason"] == reason_for(plugins, "bad")
    assert rows["good"]["offers"] == ["sink good"]


def test_a_global_that_cannot_be_looked_at_costs_nothing(tmp_path: Path) -> None:
    lazy = """
class Lazy:
    def __getattribute__(self, name):
        raise RuntimeError("not bound yet")

lazy = Lazy()
"""
    plugins = load_from(tmp_path, one=SINK.format(name="one") + lazy)
    assert "one" in plugins.sinks and plugins.problems == []


def test_a_plugin_that_is_half_good_gives_nothing(tmp_path: Path) -> None:
    half = SINK.format(name="half") + "\n@hookimpl\ndef listing_sources():\n    return [None]\n"
    plugins = load_from(tmp_path, half=half)
    assert "half" not in plugins.sinks
    assert "ListingSource" in reason_for(plugins, "half")


def test_a_plugin_that_takes_a_name_twice_gives_nothing(tmp_path: Path) -> None:
    twice = SINK.format(name="twice").replace("lambda options: None)]", "lambda options: None)] * 2")
    plugins = load_from(tmp_path, twice=twice)
    assert "twice" not in plugins.sinks
    assert "already offered" in reason_for(plugins, "twice")


def test_a_file_cannot_take_an_installed_plugins_name(tmp_path: Path) -> None:
    plugins = load_from(tmp_path, questdb=SINK.format(name="other"))
    assert "other" not in plugins.sinks
    assert "name is taken" in reason_for(plugins, "questdb")


def test_a_disabled_plugin_is_not_even_imported(tmp_path: Path) -> None:
    plugins = load_from(tmp_path, "trap", trap="raise RuntimeError('imported')")
    assert plugins.problems == []
    assert {"name": "trap", "status": "disabled"}.items() <= plugins.describe()[-1].items()


def test_disabling_what_is_not_there_is_an_error_with_the_nearest_name() -> None:
    config = Config(plugins=PluginsConfig(disabled=["binanse"]))
    with pytest.raises(ConfigError, match=r"plugins\.disabled: no plugin is called `binanse`.* did you mean `binance`\?"):
        load_plugins(config).fit(config)


def test_a_folder_that_is_not_there_is_an_error() -> None:
    config = Config(plugins=PluginsConfig(folder="/nowhere"))
    with pytest.raises(ConfigError, match=r"plugins\.folder: /nowhere is not a folder"):
        load_plugins(config).fit(config)


def test_a_plugin_is_known_by_the_exchange_it_offers_and_by_its_module(tmp_path: Path, clean_path: None) -> None:
    make_wheel(tmp_path, "pw_eighth", SEVENTH.replace("seventh", "eighth"), point="short")
    for name in ("eighth", "pw_eighth", "short"):
        plugins = load_from(tmp_path, name, pumpwatch_seventh=SEVENTH)
        assert plugins.faults == [] and plugins.problems == []
        assert "eighth" not in {venue.exchange for venue in plugins.venues}
        assert {candidate.name for candidate in plugins.candidates if candidate.status == "disabled"} == {"short"}
        assert not any("pw_eighth" in path for path in sys.path)
        assert plugins.candidate("seventh") is plugins.candidate("pumpwatch_seventh")
    plugins = load_from(tmp_path)
    assert {"seventh", "eighth"} <= {venue.exchange for venue in plugins.venues}
    assert [candidate.name for candidate in plugins.candidates if candidate.name == "short"] == ["short"]
    assert len({candidate.name for candidate in load_from(tmp_path).candidates}) == len(plugins.candidates)


def test_an_unsafe_folder_is_a_fault_and_an_unsafe_file_in_it_is_left_out(tmp_path: Path, clean_path: None) -> None:
    wheel = make_wheel(tmp_path, "pw_open", SINK.format(name="open"))
    (tmp_path / "mine.py").write_text(SINK.format(name="mine"))
    for path in (wheel, tmp_path / "mine.py"):
        path.chmod(0o666)
    plugins = load_from(tmp_path, good=SINK.format(name="good"))
    assert set(plugins.sinks) == {"good", "postgres", "questdb"}
    assert "chmod go-w" in reason_for(plugins, wheel.name) and "chmod go-w" in reason_for(plugins, "mine.py")
    assert not any("pw_open" in path for path in sys.path)
    tmp_path.chmod(0o777)
    plugins = load_from(tmp_path)
    assert plugins.faults[0].startswith("plugins.folder: others may write to") and set(plugins.sinks) == {"postgres", "questdb"}


def test_what_the_config_wants_and_nobody_offers_is_listed() -> None:
    config = Config(exchanges={"binanse": ExchangeConfig()}, sinks={"questdb": {}, "clickhouse": {}})
    lines = load_plugins(config).unmet(config)
    assert [line.split(":")[0] for line in lines] == ["exchanges.binanse", "sinks.clickhouse"]
    assert "did you mean `binance`?" in lines[0]


NAMED = {name: ExchangeConfig() for name in ("binance", "phemex")}


@pytest.mark.parametrize(("exchanges", "rest"), [({}, {"binance", "bybit", "gate", "kucoin", "okx"}), (NAMED, {"binance"})])
def test_an_exchange_whose_plugin_is_disabled_is_not_collected_named_or_not(
        exchanges: dict[str, ExchangeConfig], rest: set[str]) -> None:
    config = Config(exchanges=exchanges, plugins=PluginsConfig(disabled=["phemex", "upbit"]))
    plugins = load_plugins(config)
    assert plugins.unmet(config) == []
    assert {venue.exchange for venue, _ in plugins.chosen(config)} == rest


def test_a_sink_whose_plugin_is_disabled_is_not_forgotten_in_silence() -> None:
    config = Config(sinks={"questdb": {}}, plugins=PluginsConfig(disabled=["questdb"]))
    assert load_plugins(config).unmet(config) == ["sinks.questdb: its plugin is disabled; known: postgres"]


def test_a_sink_that_nobody_offers_is_not_left_out_of_what_is_read() -> None:
    with pytest.raises(ConfigError, match=r"sinks\.clickhouse: no plugin offers it"):
        load_plugins(Config()).make_sinks(Config(sinks={"clickhouse": {}}, exchanges={"binanse": ExchangeConfig()}))


SEVENTH = """
from dataclasses import replace

from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch import hookimpl


@hookimpl
def exchange_venues():
    return [replace(VENUES[0], exchange="seventh")]
"""


def test_an_exchange_is_collected_as_soon_as_its_plugin_is_there_unless_the_config_names_others(tmp_path: Path) -> None:
    plugins = load_from(tmp_path, seventh=SEVENTH)
    assert "seventh.spot" in {venue.name for venue, _ in plugins.chosen(Config())}
    assert {venue.name for venue, _ in plugins.chosen(Config(exchanges=NAMED))} == {
        f"{name}.{market_type}" for name in NAMED for market_type in ("spot", "futures")}
    assert [venue.name for venue, _ in plugins.chosen(Config(exchanges={"seventh": ExchangeConfig()}))] == ["seventh.spot"]


def test_a_market_that_the_plugin_does_not_have_is_an_error_that_says_what_it_has(tmp_path: Path) -> None:
    plugins = load_from(tmp_path, seventh=SEVENTH)
    for part in (VenueConfig(), VenueConfig(symbols=["X"])):
        named = {"seventh": ExchangeConfig(futures=part), "binance": ExchangeConfig(futures=part)}
        for config in (Config(exchanges=named), Config(overrides=named)):
            assert plugins.unmet(config) == ["exchanges.seventh.futures: the exchange's plugin has no such market; it has: spot"]
            with pytest.raises(ConfigError):
                plugins.fit(config)
    for exchange in (ExchangeConfig(), ExchangeConfig(futures=VenueConfig(enabled=False)),
                     ExchangeConfig(enabled=False, futures=VenueConfig())):
        assert plugins.unmet(Config(exchanges={"seventh": exchange})) == []


def test_options_beside_the_chosen_exchanges_choose_none() -> None:
    plugins = load_plugins(Config())
    off = {"binance": ExchangeConfig(futures=VenueConfig(enabled=False))}
    every = {venue.name for venue, _ in plugins.chosen(Config())}
    assert {venue.name for venue, _ in plugins.chosen(Config(overrides=off))} == every - {"binance.futures"}
    assert {venue.name for venue, _ in plugins.chosen(Config(overrides=off, exchanges={"okx": ExchangeConfig()}))} == {
        "okx.spot", "okx.futures"}
    assert plugins.unmet(Config(overrides={"binanse": ExchangeConfig()}))[0].startswith("exchanges.binanse: no plugin offers it")


def test_a_variant_that_no_plugin_offers_is_refused() -> None:
    config = Config(exchanges={"binance": ExchangeConfig(futures=VenueConfig(variant="agg_trades"))})
    with pytest.raises(PluginError, match=r"binance\.futures:agg_trades") as caught:
        load_plugins(config).chosen(config)
    assert "did you mean `binance.futures:agg_trade`?" in caught.value.hint


def test_an_unknown_venue_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PluginError) as caught:
        load_plugins(Config()).venue("binance.sport")
    assert "did you mean `binance.spot`?" in caught.value.hint
