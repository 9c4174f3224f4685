"""`init-symbols` prints the symbols of each venue, as a config to prune, and as a plan of connections."""

from __future__ import annotations

import json

import pytest
import yaml

from pumpwatch.commands.init_symbols import ListedSymbols, as_config, plan, plan_table, rows_of
from pumpwatch.commands.table import spelling
from pumpwatch.config import Config, VenueConfig
from pumpwatch.config_errors import convert
from pumpwatch.instruments.symbols_file import read
from pumpwatch.model import Instrument
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.process import SimProcess

ODD = ("BTCUSDT", "1000PEPEUSDT", "0G_USDT", "币安人生USDT", "A # \"B\": [USDT")


def listed(name, symbols, left=None, **options):
    venue = load_plugins(Config()).venue(name)
    instruments = [Instrument(symbol=symbol, base="1000PEPE" if "PEPE" in symbol else "X", quote="USDT",
                              multiplier=1000 if "PEPE" in symbol else 1) for symbol in symbols]
    return ListedSymbols(venue, VenueConfig(**options), instruments, left or {})


def test_the_config_collects_just_these_symbols_whatever_they_are_called():
    lists = [listed("bybit.spot", ODD, {"X\nBTC": "quote # BTC"}), listed("gate.spot", []), listed("bybit.futures", ODD[:1])]
    text = as_config(lists)
    raw = yaml.safe_load(text)
    config = convert(raw, Config, "test")
    assert config.exchanges["bybit"].spot.symbols == list(ODD)
    assert config.exchanges["bybit"].futures.symbols == ["BTCUSDT"]
    assert raw["exchanges"]["gate"] == {"spot": {"enabled": False}}  # no symbols would mean all
    assert '- "1000PEPEUSDT"  # 1000 x PEPE\n' in text and '# left out: "X\\nBTC": quote # BTC\n' in text
    assert [row["symbol"] for row in rows_of(lists)] == [*ODD, "BTCUSDT"]


def test_the_plan_places_every_symbol_once_within_the_limits_and_says_how_long_they_make_it_take():
    symbols = [f"C{number}USDT" for number in range(250)]
    lists = [listed("bybit.spot", symbols), listed("phemex.futures", symbols, symbols_per_connection=80)]
    rows = plan(lists)
    for listed_symbols, places in zip(lists, (rows[:3], rows[3:]), strict=True):
        assert sorted(symbol for place in places for symbol in place["symbols"]) == sorted(symbols)
        for place in places:
            limits = listed_symbols.venue.limits
            assert len(place["symbols"]) <= limits.symbols_per_connection
            assert place["requests"] >= -(-len(place["symbols"]) // limits.symbols_per_message)
            assert place["seconds"] >= (place["requests"] - 1) / limits.messages_per_second
    (spot, futures) = plan_table(rows)
    assert [spelling(cell, 0) for cell in spot[:6]] == ["bybit.spot", "250", "3", "83 to 84", "112", "27"]
    assert [spelling(cell, 0) for cell in futures[:6]] == ["phemex.futures", "250", "4", "62 to 63", "80", "250"]


def test_every_venue_is_asked_and_what_it_has_is_written_shown_or_planned(forked_cli, tmp_path):
    with SimProcess(venues=["gate.futures", "phemex.spot"], symbols=120, paused=True) as sim:
        config = yaml.safe_load(sim.config_yaml()) | {"symbols_file": str(tmp_path / "here" / "symbols.yaml")}
        config["exchanges"]["phemex"]["spot"]["excluded"] = ["sBTCUSDT"]
        (tmp_path / "sim.yaml").write_text(yaml.safe_dump(config), "utf-8")

        def ask(*arguments: str):
            return forked_cli("init-symbols", "-c", str(tmp_path / "sim.yaml"), *arguments)

        ran = ask()
        assert ran.returncode == 0 and "239 symbols" in ran.stderr and "gate.futures" in ran.stdout, ran.stderr
        known = read(tmp_path / "here" / "symbols.yaml")
        assert len(known["gate.futures"].instruments) == 120 and len(known["phemex.spot"].instruments) == 119
        assert known["phemex.spot"].excluded["sBTCUSDT"] == "not chosen in the config"
        ran = ask("--as-config")
        assert len(yaml.safe_load(ran.stdout)["exchanges"]["gate"]["futures"]["symbols"]) == 120
        rows = [json.loads(line) for line in ask("--plan", "--json").stdout.splitlines()]
        assert [row["exchange"] for row in rows] == ["gate", "gate", "phemex", "phemex"]
        assert [len(one["symbols"]) + len(two["symbols"]) for one, two in (rows[:2], rows[2:])] == [120, 119]
        assert all(one["volume"] == pytest.approx(two["volume"], rel=0.05) for one, two in (rows[:2], rows[2:]))
        ran = ask("--plan")
        assert "4 connections" in ran.stdout and "gate.futures" in ran.stdout
        assert yaml.safe_load(ask("-o", "-").stdout)["gate.futures"]["symbols"].keys() == {
            instrument.symbol for instrument in known["gate.futures"].instruments}
        assert ask("--plan", "-o", "x").returncode == 2
