"""Every plugin that ships keeps the contract that anyone's is held to."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from pumpwatch.config import Config
from pumpwatch.plugin_kit.contract import check_plugin
from pumpwatch.plugin_kit.results import failed

SETUP = configparser.ConfigParser()
SETUP.read(Path(__file__).resolve().parent.parent / "setup.cfg", "utf-8")
SHIPPED = [line.split(" = ")[0] for line in SETUP["options.entry_points"]["pumpwatch.plugins"].strip().splitlines()]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_plugin_that_ships_keeps_the_contract(name: str) -> None:
    assert list(failed(list(check_plugin(name, Config())))) == []
