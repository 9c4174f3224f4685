"""A wrong value is blamed on the place that it came from: a line of the file, or a variable."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pumpwatch.config import Config, load, source_options
from pumpwatch.config_errors import ConfigSource, convert
from pumpwatch.config_listing import ListingConfig, SourceConfig
from pumpwatch.errors import ConfigError
from pumpwatch.plugins import load_plugins

FILE = "net:\n  sweep_ms: 5\nsinks:\n  questdb:\n    addr: here:9000\n"


class Options(msgspec.Struct, forbid_unknown_fields=True):
    addr: str = ""


def loaded(folder: Path, **environ: str) -> Config:
    (folder / "c.yaml").write_text(FILE, "utf-8")
    return load(folder / "c.yaml", environ)


@pytest.mark.parametrize(("variable", "key"), [
    ({"net.sweep_ms": "V"}, "net.sweep_ms"), ({"net": "V"}, "net.sweep_ms"), ({"sinks.shelf.addr": "V"}, "sinks.shelf")])
def test_a_key_came_from_its_variable_that_of_its_section_or_one_inside_it(variable: dict[str, str], key: str) -> None:
    source = ConfigSource("c.yaml", FILE)
    source.variables |= variable
    assert source.at(key) == "environment V" and source.knows(key)


def test_a_key_of_the_file_stays_there_beside_a_variable_of_another() -> None:
    source = ConfigSource("c.yaml", FILE)
    source.variables["sinks.questdb.flush"] = "V"
    assert (source.at("sinks.questdb.addr"), source.at("sinks.questdb")) == ("c.yaml:5:5", "c.yaml:4:3")
    assert (source.at("store.dir"), source.knows("store.dir")) == ("c.yaml", False)


@pytest.mark.parametrize(("variable", "value"), [
    ("PUMPWATCH_SINKS__QUESTDB__ADDR", "5"), ("PUMPWATCH_SINKS__QUESTDB", "{addr: 5}"), ("PUMPWATCH_SINKS__QUESTDB__ADR", "x")])
def test_a_wrong_option_of_a_sink_is_blamed_on_the_variable(tmp_path: Path, variable: str, value: str) -> None:
    config = loaded(tmp_path, **{variable: value})
    with pytest.raises(ConfigError) as caught:
        load_plugins(Config()).make_sinks(config)
    assert caught.value.message.startswith(f"environment {variable}: ")


def test_a_wrong_key_of_a_section_that_is_a_variable_is_blamed_on_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^environment PUMPWATCH_NET: net\.sweep_ms"):
        loaded(tmp_path, PUMPWATCH_NET="{sweep_ms: -1}")


def test_an_entry_that_no_plugin_offers_is_blamed_on_the_variable(tmp_path: Path) -> None:
    config = loaded(tmp_path, PUMPWATCH_SINKS__NOWHERE__ADDR="x")
    with pytest.raises(ConfigError) as caught:
        load_plugins(Config()).fit(config)
    assert "environment PUMPWATCH_SINKS__NOWHERE__ADDR: sinks.nowhere: " in caught.value.message


def test_data_without_a_file_are_named_by_their_text() -> None:
    with pytest.raises(ConfigError) as caught:
        convert({"adr": "x"}, Options, "the demo's config", "sinks.shelf.")
    assert caught.value.message == "the demo's config: unknown key `sinks.shelf.adr`"
    assert "did you mean `addr`?" in caught.value.hint


@pytest.mark.parametrize(("written", "says"), [
    ("3", "invalid enum value 3; allowed: 1, 2, a list, {top: N}"),
    ("many", "allowed: 1, 2, a list, {top: N}"),
    ("{tpo: 2}", "unknown key `exchanges.binance.spot.redundancy.tpo`; did you mean `top`?"),
    ("{top: 0}", "redundancy.top: expected `int` >= 1"),
    ("[BTCUSDT, 3]", "redundancy.1: expected `str`, got `int`")])
def test_a_key_that_may_hold_several_kinds_of_values_names_them(tmp_path, written, says):
    file = tmp_path / "pumpwatch.yaml"
    file.write_text(f"exchanges:\n  binance:\n    spot:\n      redundancy: {written}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert says in f"{caught.value.message}; {caught.value.hint}" and f"{file}:4:" in caught.value.message


def test_a_sources_own_options_are_checked_and_shown_in_no_error() -> None:
    plugins = load_plugins(Config())
    pushes, polled = plugins.source("upbit_announcements"), SourceConfig(options={"secret_key": "SECRET", "acess_key": "SECRET"})
    config = Config(listing=ListingConfig(sources={pushes.name: polled}))
    with pytest.raises(ConfigError) as caught:
        source_options(config, pushes)
    assert "unknown key `listing.sources.upbit_announcements.options.acess_key`" in caught.value.message
    assert "SECRET" not in str(caught.value)
    half = SourceConfig(options={"secret_key": "x"})
    found = source_options(Config(listing=ListingConfig(sources={pushes.name: half})), pushes)
    assert (found.access_key, found.secret_key) == ("", "x")


def test_a_sources_options_may_come_from_the_environment(tmp_path: Path) -> None:
    config = load(None, {"PUMPWATCH_LISTING__SOURCES__UPBIT_ANNOUNCEMENTS__OPTIONS__KEY_FILE": str(tmp_path / "key")})
    assert source_options(config, load_plugins(config).source("upbit_announcements")).key_file == str(tmp_path / "key")
    assert "own_signals" in config.listing.sources
