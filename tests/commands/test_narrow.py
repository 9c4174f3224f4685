"""`collect --exchange NAME --coin COIN`: only these, and a clear message for what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.commands.narrow import narrowed
from pumpwatch.config import Config, ExchangeConfig, StoreConfig, VenueConfig, load
from pumpwatch.errors import ConfigError, UsageError
from pumpwatch.instruments.lists import only
from pumpwatch.instruments.symbols_file import VenueSymbols
from pumpwatch.model import Instrument
from pumpwatch.plugins import load_plugins

PLUGINS = load_plugins(Config())


def venues(config: Config) -> list[str]:
    return [venue.name for venue, _ in PLUGINS.chosen(config)]


def test_only_the_named_exchanges_are_collected_with_their_options() -> None:
    config = Config(exchanges={"okx": ExchangeConfig(futures=VenueConfig(enabled=False)), "gate": ExchangeConfig(),
                               "bybit": ExchangeConfig()})
    assert venues(narrowed(config, PLUGINS, ["okx", "gate"], [])) == ["okx.spot", "gate.spot", "gate.futures"]
    assert venues(narrowed(Config(), PLUGINS, ["kucoin"], [])) == ["kucoin.spot", "kucoin.futures"]


def test_an_option_from_the_environment_stays() -> None:
    config = Config(overrides={"okx": ExchangeConfig(spot=VenueConfig(enabled=False))})
    assert venues(narrowed(config, PLUGINS, ["okx"], [])) == ["okx.futures"]


def test_only_a_run_narrowed_by_coins_leaves_the_symbols_file_alone(tmp_path: Path) -> None:
    config = Config(store=StoreConfig(dir=str(tmp_path)), symbols_file=str(tmp_path / "symbols.yaml"))
    for coins, writes in (([], True), (["PEPE"], False)):
        collector = Collector(narrowed(config, PLUGINS, ["okx"], coins), PLUGINS)
        collector.symbols.put("okx.spot", VenueSymbols(0, [], {}))
        collector.symbols.write()
        assert (tmp_path / "symbols.yaml").exists() is writes
        (tmp_path / "symbols.yaml").unlink(missing_ok=True)


def test_an_error_after_narrowing_still_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("exchanges:\n  okx:\nsinks:\n  questdb:\n    adr: x\n", "utf-8")
    config = narrowed(load(tmp_path / "c.yaml", {}), PLUGINS, ["okx"], ["PEPE"])
    with pytest.raises(ConfigError, match=r"c\.yaml:5:5: unknown key"):
        PLUGINS.make_sinks(config)


def test_a_coin_is_chosen_on_every_market_whatever_its_symbol() -> None:
    config = narrowed(Config(exchanges={"okx": ExchangeConfig(spot=VenueConfig(symbols=["A"]))}), PLUGINS, [], ["pepe", "BTC"])
    assert config.exchanges["okx"].spot == VenueConfig(symbols=["A"], coins=["PEPE", "BTC"])
    assert config.exchanges["okx"].futures == VenueConfig(coins=["PEPE", "BTC"])
    listed = [Instrument(symbol=symbol, base=base, quote="USDT", multiplier=multiplier) for symbol, base, multiplier in (
        ("PEPEUSDT", "PEPE", 1), ("1000PEPEUSDT", "1000PEPE", 1000), ("ETHUSDT", "ETH", 1), ("XBTUSDTM", "XBT", 1))]
    chosen = only(listed, VenueConfig(coins=["PEPE", "BTC"]))
    assert [instrument.symbol for instrument in chosen] == ["PEPEUSDT", "1000PEPEUSDT", "XBTUSDTM"]
    assert only(listed, VenueConfig(coins=["1000PEPE"])) == chosen[:2]


@pytest.mark.parametrize(("exchanges", "coins", "message", "hint"), [
    (["binanse"], [], "--exchange binanse: no plugin offers it", "did you mean `binance`? offered: binance, bybit"),
    (["okx"], [], "--exchange okx: the config does not collect it", "collected: gate"),
    ([], ["PE PE"], "`PE PE` is not a coin", "letters and digits"),
])
def test_what_cannot_be_meant_is_one_message(exchanges: list[str], coins: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        narrowed(Config(exchanges={"gate": ExchangeConfig()}), PLUGINS, exchanges, coins)
    assert message in caught.value.message and hint in caught.value.hint
