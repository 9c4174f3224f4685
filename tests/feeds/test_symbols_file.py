"""The symbols file: what it says, how it is kept, and what it is good for when a venue gives no list."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.feeds.symbols_file import SymbolsFile, VenueSymbols, read
from pumpwatch.model import Instrument
from tests.feeds.scripted import VenueWorld, until

AT_NS = 1_700_000_000 * NS_PER_S
ODD = ("BTCUSDT", "NO", "1e3", "0G_USDT", "币安人生USDT", "A # \"B\": [USDT", "~", "x\nUSDT", "*anchor", "2026-01-01")


def symbols(names, excluded=None) -> VenueSymbols:
    return VenueSymbols(AT_NS, [Instrument(symbol=name, base=name, quote="USDT") for name in names], excluded or {})


def test_what_was_put_is_read_again_whatever_symbols_are_called(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "symbols.yaml"
    file = SymbolsFile(str(path))
    put = VenueSymbols(AT_NS, [
        Instrument(symbol="1000PEPEUSDT", base="1000PEPE", quote="USDT", multiplier=1000),
        Instrument(symbol="XBTUSDTM", base="BTC", quote="USDT", contract_size=0.001),
        Instrument(symbol="sBTCUSDT", base="BTC", quote="USDT", contract_size=1e-8, price_divisor=1e8),
    ], {"ETHBTC": "quoteAsset BTC"})
    file.put("a.spot", put)
    file.put("b.spot", symbols(ODD, dict.fromkeys(ODD, "because: \"#\"")))
    file.put("c.spot", symbols(()))
    file.write()
    again = read(path)
    assert all(again[venue].same_as(one) and again[venue].listed_at_ns == AT_NS for venue, one in
               (("a.spot", put), ("b.spot", symbols(ODD, dict.fromkeys(ODD, "because: \"#\""))), ("c.spot", symbols(()))))
    assert '    "1000PEPEUSDT": {base: "1000PEPE", quote: "USDT", multiplier: 1000}\n' in path.read_text("utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_it_is_written_when_something_has_changed_and_keeps_the_venues_that_are_only_in_it(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    first = SymbolsFile(str(path))
    first.put("a.spot", symbols(["A"]))
    first.write()
    second = SymbolsFile(str(path))
    second.put("b.spot", symbols(["B"]))
    second.write()
    assert read(path).keys() == {"a.spot", "b.spot"}
    path.unlink()
    second.put("b.spot", symbols(["B"]))
    second.write()
    assert not path.exists()
    second.put("b.spot", symbols(["B"], {"C": "gone"}))
    second.write()
    assert read(path)["b.spot"].excluded == {"C": "gone"}


def test_no_path_is_no_file() -> None:
    file = SymbolsFile("")
    file.put("a.spot", symbols(["A"]))
    file.write()
    assert file.known("b.spot") is None and file.known("a.spot") is not None


@pytest.mark.parametrize("text", ["[", "- A", "a.spot: 7", "a.spot: {listed_at: x, symbols: {}}", "a.spot: {symbols: {A: {}}}"])
def test_a_file_that_is_something_else_is_named_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "symbols.yaml"
    path.write_text(text, "utf-8")
    file = SymbolsFile(str(path))
    file.put("a.spot", symbols(["A"]))
    with pytest.raises(StorageError, match="not a symbols file") as refused:
        file.write()
    assert "\n" not in refused.value.message and path.read_text("utf-8") == text


def test_where_it_cannot_be_written_that_is_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file", "utf-8")
    file = SymbolsFile(str(tmp_path / "config" / "symbols.yaml"))
    file.put("a.spot", symbols(["A"]))
    for _ in range(2):
        with pytest.raises(StorageError):
            file.write()
    (tmp_path / "config").unlink()
    file.write()
    assert read(tmp_path / "config" / "symbols.yaml")["a.spot"].instruments[0].symbol == "A"


def test_a_running_collector_keeps_it_up_to_date_with_what_it_excludes_and_what_is_refused() -> None:
    file = SymbolsFile("")
    with VenueWorld([f"S{i}" for i in range(20)], symbols_file=file, excluded=["S1"]) as world:
        world.refuses = lambda symbol: symbol == "S2"
        until(lambda: world.feeds.status()["refused"] == ["S2"])
        world.listed = (world.listed - {"S3"}) | {"NEW"}
        until(lambda: "NEW" in {one.symbol for one in file.known("binance.spot").instruments})
        world.refresh(2)
        known = file.known("binance.spot")
    assert {one.symbol for one in known.instruments} == {"NEW", "S0"} | {f"S{i}" for i in range(4, 20)}
    assert known.excluded == {"S1": "not chosen in the config", "S2": "the venue refuses it: no"}


def test_while_a_venue_gives_no_list_the_symbols_of_an_earlier_one_are_collected(caplog) -> None:
    caplog.set_level(logging.WARNING, "pumpwatch.feeds.venue")
    file = SymbolsFile("")
    file.put("binance.spot", symbols(["A", "B", "C"]))
    with VenueWorld([], symbols_file=file, excluded=["C"]) as world:
        until(lambda: world.feeds.feeds and world.feeds.feeds[0].granted == {"A", "B"})
        world.listed = {"A", "B", "D"}
        until(lambda: world.feeds.feeds[0].granted == {"A", "B", "D"})
    assert "beginning with the symbols of an earlier list venue=binance.spot symbols=3" in caplog.text


def test_after_a_start_from_the_file_the_list_is_soon_asked_for_again_and_again() -> None:
    file = SymbolsFile("")
    file.put("binance.spot", symbols(["A"]))
    with VenueWorld([], symbols_file=file, refresh_s=300.0) as world:
        until(lambda: world.asked >= 3)
        assert len(world.feeds.roster) == 1
