"""From a coin to its instruments on every venue, and never to another coin's."""

from __future__ import annotations

import functools
import gzip
import json
import random
import string
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.catalogue import Catalogue, coin_of, split_multiplier
from pumpwatch.config import Config
from pumpwatch.model import Instrument
from pumpwatch.plugins import load_plugins
from tests.corpus import CORPUS, needs_corpus

SPOT, FUTURES = "spot", "futures"

# exchange, market, symbol, base, quote: how six venues spell things.
LISTED = [
    ("a", SPOT, "SOMIUSDT", "SOMI", "USDT"), ("b", SPOT, "SOMI-USDT", "SOMI", "USDT"), ("c", SPOT, "SOMI_USDT", "SOMI", "USDT"),
    ("d", SPOT, "sSOMIUSDT", "SOMI", "USDT"), ("b", FUTURES, "SOMI-USDT-SWAP", "SOMI", "USDT"),
    ("e", FUTURES, "SOMIUSDTM", "SOMI", "USDT"), ("a", FUTURES, "SOMIUSDC", "SOMI", "USDC"),
    ("a", FUTURES, "SOMIUSD_PERP", "SOMI", "USD"), ("a", SPOT, "SOMIBTC", "SOMI", "BTC"),
    ("a", SPOT, "SOMIXUSDT", "SOMIX", "USDT"),
    ("a", SPOT, "XSOMIUSDT", "XSOMI", "USDT"),
    ("a", SPOT, "OMIUSDT", "OMI", "USDT"),
    ("e", FUTURES, "XBTUSDTM", "XBT", "USDT"), ("a", SPOT, "BTCUSDT", "BTC", "USDT"), ("a", SPOT, "WBTCUSDT", "WBTC", "USDT"),
    ("a", SPOT, "PEPEUSDT", "PEPE", "USDT"), ("a", FUTURES, "1000PEPEUSDT", "1000PEPE", "USDT"),
    ("b", FUTURES, "10000PEPEUSDT", "10000PEPE", "USDT"), ("c", FUTURES, "1000000PEPEUSDT", "1000000PEPE", "USDT"),
    ("d", FUTURES, "u1000PEPEUSDT", "1000 PEPE", "USDT"), ("e", SPOT, "pepe-usdt", "pepe", "usdt"),
    ("a", SPOT, "PEPE2USDT", "PEPE2", "USDT"), ("f", FUTURES, "SHIB1000USDT", "SHIB1000", "USDT"),
    ("a", SPOT, "SHIBUSDT", "SHIB", "USDT"),
    ("a", FUTURES, "1MBABYDOGEUSDT", "1MBABYDOGE", "USDT"), ("f", FUTURES, "10000000AIDOGEUSDT", "10000000AIDOGE", "USDT"),
    ("a", SPOT, "1000SATSUSDT", "1000SATS", "USDT"), ("b", SPOT, "SATS-USDT", "SATS", "USDT"),
    ("a", SPOT, "BABYDOGEUSDT", "BABYDOGE", "USDT"),
    ("a", SPOT, "GUSDT", "G", "USDT"), ("a", SPOT, "0GUSDT", "0G", "USDT"), ("a", FUTURES, "1000XUSDT", "1000X", "USDT"),
    ("a", SPOT, "1INCHUSDT", "1INCH", "USDT"), ("a", SPOT, "INCHUSDT", "INCH", "USDT"), ("a", SPOT, "2ZUSDT", "2Z", "USDT"),
    ("a", SPOT, "ZUSDT", "Z", "USDT"), ("a", SPOT, "API3USDT", "API3", "USDT"), ("a", SPOT, "APIUSDT", "API", "USDT"),
    ("a", SPOT, "币安人生USDT", "币安人生", "USDT"), ("d", SPOT, "sOLUSDT", "OL", "USDT"), ("a", SPOT, "SOLUSDT", "SOL", "USDT"),
]
WANTED = {
    "SOMI": ["SOMI-USDT", "SOMI-USDT-SWAP", "SOMIUSDT", "SOMIUSDTM", "SOMI_USDT", "sSOMIUSDT"], "SOMIX": ["SOMIXUSDT"],
    "OMI": ["OMIUSDT"], "SOM": [], "OM": [], "USDT": [], "S": [],
    "BTC": ["BTCUSDT", "XBTUSDTM"], "XBT": ["BTCUSDT", "XBTUSDTM"],
    "PEPE": ["1000000PEPEUSDT", "10000PEPEUSDT", "1000PEPEUSDT", "PEPEUSDT", "pepe-usdt", "u1000PEPEUSDT"],
    "PEPE2": ["PEPE2USDT"],
    "SHIB": ["SHIB1000USDT", "SHIBUSDT"], "BABYDOGE": ["1MBABYDOGEUSDT", "BABYDOGEUSDT"], "AIDOGE": ["10000000AIDOGEUSDT"],
    "SATS": ["1000SATSUSDT", "SATS-USDT"], "1000SATS": ["1000SATSUSDT", "SATS-USDT"], "G": ["GUSDT"], "0G": ["0GUSDT"],
    "X": ["1000XUSDT"], "1INCH": ["1INCHUSDT"], "INCH": ["INCHUSDT"], "2Z": ["2ZUSDT"], "Z": ["ZUSDT"], "API3": ["API3USDT"],
    "API": ["APIUSDT"], "3": [], "1000": [], "币安人生": ["币安人生USDT"], "OL": ["sOLUSDT"], "SOL": ["SOLUSDT"], "": [],
}


def catalogue_of(listed: list[tuple[str, str, str, str, str]]) -> Catalogue:
    catalogue = Catalogue()
    for exchange, market_type, symbol, base, quote in listed:
        catalogue.add((exchange, market_type), Instrument(symbol=symbol, base=base, quote=quote,
                                                          multiplier=split_multiplier(base)))
    return catalogue


def found(catalogue: Catalogue, coin: str) -> list[str]:
    return sorted(catalogue.instruments[number].symbol for number in catalogue.matching(coin))


@pytest.mark.parametrize("coin", WANTED)
def test_a_coin_is_found_on_every_venue_and_no_other_coin_is(coin: str) -> None:
    assert found(catalogue_of(LISTED), coin) == WANTED[coin]
    assert found(catalogue_of(LISTED), coin.lower()) == WANTED[coin]


@pytest.mark.parametrize(("base", "multiplier"), [
    ("PEPE", 1), ("1000PEPE", 1000), ("1000 PEPE", 1000), ("1000pepe", 1000), ("10000LADYS", 10_000), ("1000000MOG", 1_000_000),
    ("10000000AIDOGE", 10_000_000), ("1MBABYDOGE", 1_000_000), ("SHIB1000", 1000), ("1000X", 1000), ("1INCH", 1), ("0G", 1),
    ("2Z", 1), ("API3", 1), ("1M", 1), ("1MX", 1), ("100X", 1), ("1000", 1), ("10000", 1), ("SPX6900", 1), ("B3", 1),
    ("API31000", 1), ("", 1), ("1000币安", 1000),
])
def test_a_multiplier_is_a_thousand_or_more_before_or_behind_a_name(base: str, multiplier: int) -> None:
    assert split_multiplier(base) == multiplier


def test_a_real_name_that_looks_multiplied_is_kept_where_its_venue_says_so() -> None:
    catalogue = Catalogue()
    catalogue.add(("a", SPOT), Instrument(symbol="1000XUSDT", base="1000X", quote="USDT", multiplier=1))
    catalogue.add(("b", SPOT), Instrument(symbol="XUSDT", base="X", quote="USDT"))
    assert found(catalogue, "X") == ["XUSDT"]
    assert "1000XUSDT" in found(catalogue, "1000X")


OTHER_NAMES = {"XBT": "BTC"}
NAMES = st.one_of(st.sampled_from(["0G", "1INCH", "2Z", "API3", "X", "G", "B3", "4", "1CAT", "88MPH", "XBT", "BTC"]),
                  st.text(string.ascii_uppercase, min_size=1, max_size=6),
                  st.from_regex(r"[A-Z]{1,4}[0-9]{1,2}", fullmatch=True))
SPELLINGS = st.sampled_from(["{}", "1000{}", "10000{}", "1000000{}", "1000 {}", "{}1000", "{}10000"])


@given(st.lists(st.tuples(NAMES, SPELLINGS), min_size=1, max_size=12))
def test_each_instrument_belongs_to_its_coin_however_it_is_spelt(spelt: list[tuple[str, str]]) -> None:
    listed = [(name, spelling.format(name)) for name, spelling in spelt
              if spelling == "{}" or (name[0].isalpha() and (name[-1].isalpha() or spelling[0] != "{"))]
    catalogue = catalogue_of([("a", SPOT, str(number), base, "USDT") for number, (_, base) in enumerate(listed)])
    for name in {name for name, _ in spelt}:
        wanted = {number for number, (coin, _) in enumerate(listed) if OTHER_NAMES.get(coin, coin) == OTHER_NAMES.get(name, name)}
        assert set(catalogue.matching(name)) == wanted


def test_ids_are_kept_and_facts_renewed_from_any_thread() -> None:
    catalogue = Catalogue()
    threads = [threading.Thread(target=lambda: [catalogue.add(("a", SPOT), Instrument(symbol=str(n), base=str(n), quote="USDT"))
                                                for n in range(300)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(catalogue) == 300
    number = catalogue.ids_of(("a", SPOT))["7"]
    assert catalogue.add(("a", SPOT), Instrument(symbol="7", base="SEVEN", quote="USDT")) == number
    assert catalogue.add_if_new(("a", SPOT), Instrument(symbol="7", base="EIGHT", quote="USDT")) == number
    assert catalogue.matching("seven") == [number] and catalogue.matching("7") == catalogue.matching("eight") == []
    assert catalogue.instruments[number].base == "SEVEN" and catalogue.names([number]) == [("a", SPOT, "7")]


RECORDED = {
    "binance.spot": ["binance_spot_exchangeInfo_20211012.json.gz", "binance_spot_exchangeInfo_roq.json"],
    "binance.futures": ["binance_usdm_exchangeInfo_20210722.json", "binance_usdm_exchangeInfo_roq.json"],
    "bybit.spot": ["bybit_instruments_spot_hirokisan.json", "bybit_instruments_spot_roq.json"],
    "bybit.futures": ["bybit_instruments_linear_nautilus.json"],
    "okx.spot": ["okx_instruments_SPOT_20220513.json.gz", "okx_instruments_spot_nautilus.json"],
    "okx.futures": ["okx_instruments_SWAP_20220513.json", "okx_instruments_swap_nautilus.json",
                    "okx_instruments_FUTURES_20220513.json"],
    "kucoin.spot": ["kucoin_symbols_20210425.json.gz", "kucoin_spot_symbols_sdk.json"],
    "kucoin.futures": ["kucoin_contracts_active_roq.json"],
    "gate.spot": ["gate_currency_pairs_20210422.json.gz"],
    "gate.futures": ["gate_usdt_contracts_20230524.json.gz"],
    "phemex.spot": ["phemex_products_20210703.json", "phemex_products_roq.json"],
    "phemex.futures": ["phemex_products_20210703.json", "phemex_products_roq.json"],
}
PREFIXES = ("", "1000", "10000", "1000000", "10000000", "1M")
SUFFIXES = ("1000", "10000")


@functools.cache
def recorded() -> tuple[Catalogue, list[str]]:
    """Return every recorded symbol list as its own venue reads it, and the venues whose plugin is there."""
    assert CORPUS is not None
    catalogue, venues = Catalogue(), {venue.name: venue for venue in load_plugins(Config()).venues if not venue.variant}
    for name in RECORDED.keys() & venues.keys():
        exchange, _, market_type = name.partition(".")
        for file in RECORDED[name]:
            for instrument in venues[name].parse_instruments([body(CORPUS / "rest_symbols" / file)]):
                catalogue.add_if_new((exchange, market_type), instrument)
    return catalogue, sorted(RECORDED.keys() & venues.keys())


def body(path: Path) -> bytes:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if path.name == "bybit_instruments_spot_hirokisan.json":  # as a client kept it: without the envelope
        return json.dumps(json.loads(raw)["Spot"]).encode()
    return raw


def spellings(coin: str) -> set[str]:
    """Return every base under which a coin may be listed, made by putting together, where the catalogue takes apart."""
    names = {coin} | ({"BTC", "XBT"} if coin in ("BTC", "XBT") else set())
    return {prefix + name for name in names for prefix in PREFIXES} | {name + suffix for name in names for suffix in SUFFIXES}


@needs_corpus
def test_of_all_recorded_lists_each_coin_finds_exactly_its_own_instruments() -> None:
    catalogue, venues = recorded()
    assert len(catalogue) > 120 * len(venues)
    coins = {coin_of(one) for one in catalogue.instruments}
    owner: dict[int, str] = {}
    for coin in coins:
        for number in catalogue.matching(coin):
            assert owner.setdefault(number, coin) == coin
            assert catalogue.instruments[number].base.upper().replace(" ", "") in spellings(coin)
    assert owner.keys() == set(range(len(catalogue)))


@needs_corpus
def test_of_all_recorded_lists_a_coins_neighbours_by_spelling_are_not_its_instruments() -> None:
    catalogue, _ = recorded()
    chance = random.Random(5)
    coins = sorted({coin_of(one) for one in catalogue.instruments})
    for coin in chance.sample(coins, min(300, len(coins))):
        own = set(catalogue.matching(coin))
        assert own == set(catalogue.matching(coin.lower()))
        for other in (coin[:-1], coin[1:], f"{coin}X", f"X{coin}", f"0{coin}", f"{coin}2", f"{coin}USDT", f"S{coin}",
                      f"{coin}-USDT"):
            if other not in spellings(coin):
                assert not own & set(catalogue.matching(other)), (coin, other)


@needs_corpus
def test_of_all_recorded_lists_dated_inverse_and_usdc_contracts_are_left_out() -> None:
    catalogue, _ = recorded()
    for (_, market_type), one in zip(catalogue.venues, catalogue.instruments, strict=True):
        assert one.quote == "USDT", one
        if market_type == FUTURES:
            tail = one.symbol.rstrip("M").removesuffix("-SWAP")
            assert tail.endswith("USDT"), one  # nothing after the quote: no date


@needs_corpus
@pytest.mark.parametrize("coin", ["BTC", "ETH", "SHIB", "1INCH", "XRP"])
def test_well_known_coins_are_on_most_recorded_venues(coin: str) -> None:
    catalogue, venues = recorded()
    on = {catalogue.venues[number] for number in catalogue.matching(coin)}
    assert len(on) >= (len(venues) // 2 if coin in ("BTC", "ETH", "XRP") else 2)
