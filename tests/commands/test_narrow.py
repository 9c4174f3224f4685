"""`collect --exchange NAME --coin COIN`: only these, and a clear message for what cannot be meant."""

from __future__ import annotations

import pytest

from pumpwatch.commands.narrow import narrowed
from pumpwatch.config import Config, ExchangeConfig, VenueConfig
from pumpwatch.errors import UsageError
from pumpwatch.instruments.lists import only
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
