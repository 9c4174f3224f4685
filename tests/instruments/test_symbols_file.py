"""The symbols file: what it says, how it is kept, and what it is good for when a venue gives no list."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.instruments.symbols_file import SymbolsFile, VenueSymbols, read
from pumpwatch.model import Instrument
from tests.feeds.scripted import VenueWorld, until

AT_NS = 1_700_000_000 * NS_PER_S
ODD = ("BTCUSDT", "NO", "1e3", "0G_USDT", "币安人生USDT", "A # \"B\": [USDT", "~", "*anchor", "2026-01-01")


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
    assert '    "1000PEPEUSDT": {"base": "1000PEPE", "quote": "USDT", "multiplier": 1000}\n' in path.read_text("utf-8")
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
    path.write_text("")
    second.put("b.spot", symbols(["B"]))
    second.write()
    assert not path.read_text()
    second.put("b.spot", symbols(["B"], {"C": "gone"}))
    second.write()
    assert read(path)["b.spot"].excluded == {"C": "gone"}


def test_it_is_readable_by_owner_and_group_only_also_where_the_one_before_was_not(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    path.write_text("")
    path.chmod(0o666)
    file = SymbolsFile(str(path))
    file.put("a.spot", symbols(["A"]))
    before = os.umask(0)
    try:
        file.write()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_two_collectors_keep_one_file_and_one_that_was_removed_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    first, second = SymbolsFile(str(path)), SymbolsFile(str(path))
    first.put("a.spot", symbols(["A"]))
    first.write()
    second.put("b.spot", symbols(["B"]))
    second.write()
    first.put("a.spot", symbols(["A", "A2"]))
    first.write()
    assert {venue: len(one.instruments) for venue, one in read(path).items()} == {"a.spot": 2, "b.spot": 1}
    path.unlink()
    first.write()
    second.write()
    assert read(path).keys() == {"a.spot"}  # what nobody brings up to date comes with its next change
    second.put("b.spot", symbols(["B", "B2"]))
    second.write()
    assert read(path).keys() == {"a.spot", "b.spot"}


def test_processes_that_write_at_once_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    script = f"""
import sys
from pumpwatch.instruments.symbols_file import SymbolsFile, VenueSymbols
from pumpwatch.model import Instrument
file = SymbolsFile(sys.argv[1])
for number in range(30):
    file.put(sys.argv[2], VenueSymbols({AT_NS}, [Instrument(symbol=f"S{{number}}", base="S", quote="USDT")], {{}}))
    file.write()
"""
    running = [subprocess.Popen([sys.executable, "-c", script, str(path), f"{name}.spot"]) for name in "abcd"]
    assert [one.wait(300) for one in running] == [0] * 4
    assert {venue: one.instruments[0].symbol for venue, one in read(path).items()} == dict.fromkeys(
        ("a.spot", "b.spot", "c.spot", "d.spot"), "S29")


def test_the_moment_is_renewed_once_a_day(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    file = SymbolsFile(str(path))
    for hours, written in ((0, 0), (23, 0), (24, 24), (47, 24)):
        file.put("a.spot", dataclasses.replace(symbols(["A"]), listed_at_ns=AT_NS + hours * 3600 * NS_PER_S))
        file.write()
        assert read(path)["a.spot"].listed_at_ns == AT_NS + written * 3600 * NS_PER_S


@pytest.mark.parametrize("odd", ["A\x7f", "A\x85", "A\u2028", "A\ufeff", "\U0001F600", "A\ufffe", "A\U000e0001", "A" * 900])
def test_whatever_is_written_can_be_read(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "symbols.yaml"
    file = SymbolsFile(str(path))
    file.put("a.spot", symbols(["A"], {odd: f"status {odd}"}))
    file.write()
    assert read(path)["a.spot"].excluded == {odd: f"status {odd}"}
    assert yaml.safe_load(path.read_text("utf-8"))["a.spot"]["excluded"] == {odd: f"status {odd}"}


def test_what_a_hand_has_changed_is_read_too_and_what_cannot_be_an_instrument_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    path.write_text("""
a.spot:
    listed_at: "2023-11-14T22:13:20Z"
    symbols:
        A: {base: A, quote: USDT}
        ZERO: {base: A, quote: USDT, contract_size: 0}
        NAN: {base: A, quote: USDT, contract_size: .nan}
        NAMELESS: {base: '', quote: USDT}
""", "utf-8")
    assert read(path)["a.spot"] == symbols(["A"])


def test_a_file_of_full_size_is_read_quickly(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    file = SymbolsFile(str(path))
    for number in range(12):
        file.put(f"v{number}.spot", symbols([f"S{i}USDT" for i in range(480)],
                                            {f"X{i}": "quoteAsset BTC, status BREAK" for i in range(700)}))
    file.write()
    seconds = []
    for _ in range(3):
        began = time.process_time()
        read(path)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.2  # YAML takes four times as long


def test_a_file_that_cannot_be_read_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    path.write_text("[", "utf-8")
    file, before_ns = SymbolsFile(str(path)), path.stat().st_mtime_ns
    for text in ("[", "#"):
        path.write_text(text, "utf-8")
        os.utime(path, ns=(before_ns, before_ns))
        with pytest.raises(StorageError):
            file.known("a.spot")
    os.utime(path, ns=(before_ns, before_ns + 1000))
    assert file.known("a.spot") is None


def test_a_file_that_is_only_read_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "symbols.yaml"
    first = SymbolsFile(str(path))
    first.put("a.spot", symbols(["A", "B"]))
    first.write()
    written, second = path.read_bytes(), SymbolsFile(str(path), writes=False)
    known = second.known("a.spot")
    assert known is not None and [instrument.symbol for instrument in known.instruments] == ["A", "B"]
    second.put("a.spot", symbols(["A"]))
    second.write()
    assert path.read_bytes() == written


def test_an_empty_path_means_no_file() -> None:
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


def test_a_file_that_cannot_be_written_is_an_error_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file", "utf-8")
    file = SymbolsFile(str(tmp_path / "config" / "symbols.yaml"))
    file.put("a.spot", symbols(["A"]))
    for _ in range(2):
        with pytest.raises(StorageError):
            file.write()
    (tmp_path / "config").unlink()
    file.write()
    assert read(tmp_path / "config" / "symbols.yaml")["a.spot"].instruments[0].symbol == "A"


def test_a_running_collector_keeps_it_up_to_date_with_excluded_and_rejected_symbols() -> None:
    file = SymbolsFile("")
    with VenueWorld([f"S{i}" for i in range(20)], symbols_file=file, excluded=["S1"]) as world:
        world.refuses = lambda symbol: symbol == "S2"
        until(lambda: world.feeds.status()["refused"] == ["S2"])
        world.listed = (world.listed - {"S3"}) | {"NEW"}
        left = {"NEW", "S0"} | {f"S{i}" for i in range(4, 20)}
        until(lambda: {one.symbol for one in file.known("binance.spot").instruments} == left)
        world.refresh(2)  # it stays so
        until(lambda: {one.symbol for one in file.known("binance.spot").instruments} == left)
        known = file.known("binance.spot")
    assert known.excluded == {"S1": "not chosen in the config", "S2": "the venue rejects it: no"}


def test_while_a_venue_gives_no_list_the_symbols_of_an_earlier_one_are_collected(caplog) -> None:
    caplog.set_level(logging.WARNING, "pumpwatch.feeds")
    file = SymbolsFile("")
    file.put("binance.spot", symbols(["A", "B", "C"]))
    with VenueWorld([], symbols_file=file, excluded=["C"]) as world:
        until(lambda: world.feeds.feeds and world.feeds.feeds[0].granted == {"A", "B"})
        world.listed = {"A", "B", "D"}
        until(lambda: world.feeds.feeds[0].granted == {"A", "B", "D"})
    assert "no instrument list, starting with an earlier one venue=binance.spot symbols=3" in caplog.text


def test_after_a_start_from_the_file_the_list_is_soon_asked_for_again_and_again() -> None:
    file = SymbolsFile("")
    file.put("binance.spot", symbols(["A"]))
    with VenueWorld([], symbols_file=file, refresh_s=300.0) as world:
        until(lambda: world.asked >= 3)
        assert len(world.feeds.placement) == 1


def test_a_changed_fact_is_written_and_the_age_of_the_symbols_at_the_start_is_logged(caplog) -> None:
    file = SymbolsFile("")
    file.put("binance.spot", symbols(["A"]))
    with VenueWorld([], symbols_file=file) as world:
        until(lambda: world.feeds.feeds)
        for base in ("A", "OTHER"):
            world.answer = json.dumps({"symbols": [{"symbol": "A", "status": "TRADING", "baseAsset": base,
                                                    "quoteAsset": "USDT"}]}).encode()
            until(lambda base=base: file.known("binance.spot").instruments[0].base == base
                  and file.known("binance.spot").listed_at_ns > AT_NS)
        age_h = (world.clock.now_ns() - AT_NS) / NS_PER_S / 3600
    assert f"hours_old={age_h:.0f}" in caplog.text
