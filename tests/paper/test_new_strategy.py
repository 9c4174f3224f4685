"""`paper new` writes a strategy that runs as it is, and that is a plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.config import Config, PluginsConfig
from pumpwatch.errors import UsageError
from pumpwatch.paper.child import load
from pumpwatch.paper.engine import play
from pumpwatch.paper.new_strategy import write_strategy
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.sources import find_source
from pumpwatch.plugins import Plugins, load_plugins
from tests.paper.tapes import BUYS, tape


def test_it_buys_a_rise(tmp_path: Path) -> None:
    path = write_strategy("buy_dips", tmp_path)
    kind = load(find_source(str(path), Plugins()))
    assert kind.__name__ == "BuyDips"
    found = play(tape([(-200, 1.0, 1, BUYS), (100, 1.02, 1, BUYS), (300, 1.03, 10**6, BUYS)]), kind(), Settings(), 0).outcome
    assert [fill.side for fill in found.fills] == ["buy"]


def test_the_plugin_folder_finds_it_by_its_name(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write_strategy("buy_dips", tmp_path).chmod(0o644)
    plugins = load_plugins(Config(plugins=PluginsConfig(folder=str(tmp_path))))
    assert find_source("buy_dips", plugins).class_name == "BuyDips"


@pytest.mark.parametrize("name", ["", "Dips", "a-b", "../x", "class", "a" * 41, "é"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a name for a strategy"):
        write_strategy(name, tmp_path)


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = write_strategy("mine", tmp_path)
    path.write_text("my work")
    with pytest.raises(UsageError, match="exists already"):
        write_strategy("mine", tmp_path)
    assert path.read_text() == "my work"
