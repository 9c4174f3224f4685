"""The code of a strategy is found by a plugin's name or a file's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pumpwatch.config import Config
from pumpwatch.errors import PluginError, UsageError
from pumpwatch.paper.child import load
from pumpwatch.paper.sources import checksum, find_source
from pumpwatch.plugins import Plugins, load_plugins


def test_each_strategy_that_ships_is_found_with_its_code() -> None:
    plugins = load_plugins(Config())
    assert sorted(plugins.strategies) == ["buy_first", "fade", "momentum", "spread"]
    for name in plugins.strategies:
        source = find_source(name, plugins)
        assert load(source).__name__ == source.class_name
        assert Path(source.file).name == f"{name.replace('_', '')}.py"


def test_a_file_is_found_by_its_path_and_its_checksum_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    source = find_source(str(path), Plugins())
    assert (source.name, source.file, source.class_name) == ("mine", str(path), "")
    assert checksum(source) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the strategy cannot be read: No such file"):
        find_source(str(tmp_path / "none.py"), Plugins())
    (tmp_path / "mine.py").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        find_source(str(tmp_path / "mine.py"), Plugins())
    with pytest.raises(PluginError, match="no plugin offers the strategy `buy_frist`; did you mean `buy_first`"):
        find_source("buy_frist", load_plugins(Config()))
