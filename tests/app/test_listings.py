"""Listings as a user meets them: windows cut by a stop and by a kill, and hostile boards, inboxes and plugins."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pumpwatch.app.collector import Collector
from pumpwatch.app.listings import EveryVenue, ListingStage, MemoryInThread
from pumpwatch.catalogue import Catalogue
from pumpwatch.config import Config, StoreConfig
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.registry import OPENED_A_MINUTE
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger, ListingRecord
from pumpwatch.store.reader import JournalReader
from pumpwatch.store.recent import Recent
from tests.app.collector import CollectorProcess
from tests.app.reckoning import settle
from tests.listing.board_server import BoardServer, row
from tests.trades import batch_of

WINDOW_S = 2.0
COINS = 500
VENUES = ["binance.spot", "binance.futures"]


def listing_config(url: str) -> dict[str, Any]:
    return {"before_s": WINDOW_S, "after_s": WINDOW_S, "sources": {"upbit": {"url": url, "interval_s": 1.0}}}


def not_opened(figures: dict[str, Any]) -> int:
    return int(sum(counter["value"] for counter in figures["counters"] if counter["name"] == "listing_not_opened_total"))


def listings(data: Path) -> list[ListingRecord]:
    ledger = Ledger(data)
    try:
        return ledger.listings()
    finally:
        ledger.close()


def stored(data: Path, coin: str, intervals: list[list[int]]) -> set[tuple[str, str, int]]:
    """Return (symbol, trade id, timestamp) of what the journal has of a coin."""
    catalogue = Catalogue()
    reader = JournalReader(data, catalogue)
    reader.load_instruments()
    ids = catalogue.matching(coin)
    found = set()
    for start, end in intervals:
        batch = reader.query(catalogue.names(ids), start, end)
        symbols = [".".join(catalogue.venues[number]) + catalogue.instruments[number].symbol
                   for number in batch.instrument.tolist()]
        found |= set(zip(symbols, batch.id_texts(), batch.timestamp.tolist(), strict=True))
    return found


def archived(archive: Path) -> tuple[set[tuple[str, str, int]], list[list[int]]]:
    found, window = set(), []
    for path in (*archive.glob("raw/*/spot.json"), *archive.glob("raw/*/futures.json")):
        raw = json.loads(path.read_text("utf-8"))
        window = raw["window"]
        venue = f"{raw['exchange']}.{raw['market_type']}"
        trades = raw["trades"]
        found |= {(venue + symbol, number, at_ns) for symbol, number, at_ns
                  in zip(trades["symbol"], trades["trade_id"], trades["timestamp"], strict=True)}
    return found, window


def cut_window(sim: SimProcess, collector: CollectorProcess, coin: str, number: signal.Signals) -> None:
    """Record for a while, publish a coin, and end the collector while its window is open."""
    time.sleep(WINDOW_S + 0.5)  # a board dates its notices in whole seconds
    sim.publish(coin)
    collector.wait_until(lambda figures: figures["listing"]["windows"]["open"] == 1)
    time.sleep(0.5)
    collector.kill(number)


def test_windows_that_a_kill_and_a_stop_cut_are_archived_whole_after_the_restart(tmp_path: Path) -> None:
    with SimProcess(venues=VENUES, symbols=6, rate=400.0, paused=True, folder=str(tmp_path / "venues")) as sim:
        collector = CollectorProcess(sim, tmp_path, listing=listing_config(sim.addresses["boards"]["upbit"]["url"]),
                                     backfill={"enabled": False})  # its trades would come between the archive and the look at it
        with collector:
            collector.wait_until_up()
            sim.resume()
            cut_window(sim, collector, "SOMI", signal.SIGKILL)
            collector.start()
            collector.wait_until(lambda figures: figures["listing"]["windows"]["not_final"] == 1)
            collector.wait_until_up()
            cut_window(sim, collector, "XRP", signal.SIGTERM)
            time.sleep(WINDOW_S + 1)  # the window ends while it is down
            collector.start()
            collector.wait_until(lambda figures: figures["listing"]["windows"]["not_final"] == 2)
            sim.pause()
            collector.wait_until(lambda figures: figures["journal"]["backlog_trades"] == 0)
            assert collector.stop() == 0
    records = listings(collector.data)
    assert [record.listing.symbol for record in records] == ["SOMI", "XRP"]
    for record in records:
        taken, window = archived(Path(record.archive))
        assert taken == stored(collector.data, record.listing.symbol, window)
        before = {at_ns for _, _, at_ns in taken if at_ns < record.listing.announced_at_ns}
        assert record.trades == len(taken) > len(before) > 0
        assert np.ptp(list(before)) > 1e9  # the trades of the run before
        manifest = read_manifest(Path(record.archive))
        assert manifest is not None
        assert (manifest.final, manifest.problems, manifest.unpublished) == (False, (), ())


def test_one_coin_on_two_boards_is_seen_by_four_sources_and_has_two_archives(tmp_path: Path) -> None:
    with SimProcess(venues=VENUES, symbols=6, rate=300.0, paused=True, folder=str(tmp_path / "venues")) as sim:
        sources = {name: {"url": board["url"], "interval_s": 1.0} for name, board in sim.addresses["boards"].items()
                   if "options" not in board}
        listing = {"before_s": WINDOW_S, "after_s": WINDOW_S, "sources": sources}
        with CollectorProcess(sim, tmp_path, listing=listing, backfill={"enabled": False}) as collector:
            collector.wait_until(lambda figures: all(figures["listing"][name]["up"] for name in sources))
            collector.wait_until_up()
            sim.resume()
            time.sleep(WINDOW_S + 1)  # of trades before the notice
            sim.publish("SOMI")
            sim.publish("SOMI", board="bithumb", height=0)
            collector.wait_until(lambda figures: figures["listing"]["windows"]["open"] == 2)
            sim.ask("board_fault", board="upbit_markets", fault="half_json")
            for board in ("upbit_markets", "bithumb_markets"):
                sim.publish("SOMI", board=board, height=0)
            collector.wait_until(lambda figures: not figures["listing"]["upbit_markets"]["up"])
            sim.ask("board_fault", board="upbit_markets", fault="none")
            collector.wait_until(lambda figures: later_sights(figures) == 2)
            collector.wait_until(lambda figures: figures["listing"]["windows"]["not_final"] == 2)
            settle(sim, collector)
            assert collector.stop() == 0
    records = listings(collector.data)
    assert sorted((record.listing.board, record.listing.kind) for record in records) == [
        ("bithumb", "notice"), ("upbit", "notice")]
    assert len({record.archive for record in records}) == 2
    for record in records:
        taken, window = archived(Path(record.archive))
        assert taken == stored(collector.data, "SOMI", window) and record.trades == len(taken) > 0


def later_sights(figures: dict[str, Any]) -> int:
    return int(sum(counter["value"] for counter in figures["counters"] if counter["name"] == "listing_later_sights_total"))


def test_a_venue_that_lists_none_of_the_chosen_coins_is_not_one_whose_list_has_not_come(tmp_path: Path) -> None:
    collector = Collector(Config(store=StoreConfig(dir=str(tmp_path))))
    budget = TokenBucket(1.0, 1.0, collector.clock)
    collector.venues = [SimpleNamespace(venue=SimpleNamespace(name=name), placement=(), has_list=came, budget=budget)
                        for name, came in (("a.spot", True), ("b.spot", False))]
    collector.journal.open()
    try:
        assert ListingStage(collector)._unlisted() == ["b.spot"]
    finally:
        collector.journal.close()


def test_memory_is_searched_in_the_thread_that_is_given() -> None:
    recent, asked = Recent(20), []

    def offload(function: Callable[..., Any], /, *args: Any) -> Any:
        asked.append(function.__name__)
        return function(*args)

    trades = batch_of(1000)
    recent.add(trades)
    memory, span = MemoryInThread(recent, offload), (int(trades.timestamp[0]), 2**62)
    assert memory.query([1], *span).trade_id.tolist() == recent.query([1], *span).trade_id.tolist() != []
    assert (asked, memory.covers_from_ns) == (["extract"], recent.covers_from_ns)
    assert memory.elsewhere(0, 2**62) == recent.elsewhere(0, 2**62) != []


def test_a_coin_is_doubled_and_released_on_every_venue() -> None:
    done: list[str] = []
    venues = [SimpleNamespace(double=lambda coin, name=name: done.append(f"{name} +{coin}"),
                              release=lambda coin, name=name: done.append(f"{name} -{coin}")) for name in ("a", "b")]
    every = EveryVenue(venues)
    every.double("C1")
    every.release("C1")
    assert done == ["a +C1", "b +C1", "a -C1", "b -C1"]


SLY_PLUGIN = '''
from pumpwatch import ListingSource, Notice, Verdict, hookimpl
import time

def parse(body):
    now = time.time_ns()
    yield None
    yield Notice(source="sly", notice_id="1", title="first", category="", published_at_ns=now - 10**9, updated_at_ns=now)
    if seen:
        yield Notice(source="upbit", notice_id="2", title="KITE", category="", published_at_ns=now, updated_at_ns=now)
        yield Notice(source="sly", notice_id="3", title="years", category="", published_at_ns=1924992000 * 10**9, updated_at_ns=0)
    seen.append(1)
    raise SystemExit(7)

def verdict(title):
    return Verdict("krw_listing", ("../../x", None, "..", "SOMI"))

seen = []

@hookimpl
def listing_sources():
    return [ListingSource(name="sly", url="https://example.com", headers={}, interval_s=1, parse=parse, verdict=verdict)]
'''


def test_hostile_boards_files_and_plugins_affect_neither_trades_nor_the_listing_beside_them(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    (plugins / "sly.py").write_text(SLY_PLUGIN)
    inbox = tmp_path / "data" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "a.json").mkdir()
    os.mkfifo(inbox / "b.json")
    (inbox / "c.json").symlink_to("c.json")
    with BoardServer() as board, SimProcess(venues=VENUES, symbols=6, rate=300.0, paused=True,
                                            folder=str(tmp_path / "venues")) as sim:
        board.rows = [row(1, "처음", time.time_ns())]
        listing = listing_config(board.url)
        listing["sources"]["sly"] = {"url": board.url + "&sly", "interval_s": 1.0}
        with CollectorProcess(sim, tmp_path, listing=listing, plugins={"folder": str(plugins)}) as collector:
            collector.wait_until(lambda figures: figures["listing"]["upbit"]["up"] and figures["listing"]["sly"]["up"])
            collector.wait_until_up()
            sim.resume()
            time.sleep(1.0)
            now_ns = time.time_ns()
            odd = row(2, "카이트(KITE) 신규 거래지원 안내 (KRW 마켓)", now_ns)
            board.rows = [
                *(odd | {"id": 100 + number, "first_listed_at": stamp} for number, stamp in enumerate((
                    "9999-12-31T23:59:59+09:00", "0001-01-01T00:00:00+09:00", "2500-01-01T00:00:00+09:00",
                    "2031-01-01T00:00:00+09:00"))),
                odd | {"id": 110, "title": "x\n2026 ERROR forged \x1b[2J(KITE) 신규 거래지원 안내 (KRW 마켓)"},
                *(row(1000 + number, f"코인(C{number}) 신규 거래지원 안내 (KRW 마켓)", now_ns) for number in range(COINS))]
            collector.wait_until(lambda figures: figures["listing"]["windows"]["not_final"] >= 1 and not_opened(figures)
                                 >= COINS - OPENED_A_MINUTE)
            assert collector.figures()["listing"]["upbit"]["up"] is True
            settle(sim, collector)
            assert collector.stop() == 0
            log = (collector.folder / "collector.log").read_text("utf-8")
    records = listings(collector.data)
    opened = [record for record in records if not record.problem]
    assert [record.listing.symbol for record in opened if record.listing.source == "sly"] == ["SOMI"]
    assert len([record for record in opened if record.listing.source == "upbit"]) <= OPENED_A_MINUTE
    assert len(records) >= COINS + 2
    assert sorted(path.name for path in inbox.iterdir()) == ["a.rejected", "b.rejected", "c.rejected"]
    assert "\x1b" not in log
    assert not any(line.startswith("2026 ERROR forged") for line in log.splitlines())
    assert not (tmp_path.parent / "x").exists()
    assert [path.name[:5] for path in (tmp_path / "archive").iterdir()] == ["SOMI_"]


PUSHING_PLUGIN = '''
import time
from pumpwatch import Notice, PushSource, Verdict, hookimpl

def listen(url, link):
    link.connected()
    time.sleep(4)
    link.deliver(b"SOMI")
    time.sleep(3600)

def parse(body):
    now = time.time_ns()
    return [Notice(source="signals", notice_id=str(now), title=body.decode(), category="", published_at_ns=now,
                   updated_at_ns=now)]

def verdict(title):
    return Verdict("krw_listing", (title,))

@hookimpl
def listing_sources():
    return [PushSource(name="signals", exchange="mine", listen=listen, parse=parse, verdict=verdict)]
'''


def test_a_source_of_a_plugin_that_pushes_opens_a_window_and_lets_the_collector_stop(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    (plugins / "signals.py").write_text(PUSHING_PLUGIN)
    with SimProcess(venues=VENUES, symbols=6, rate=300.0, folder=str(tmp_path / "venues")) as sim:
        listing = {"before_s": WINDOW_S, "after_s": WINDOW_S, "sources": {"signals": {}}}
        with CollectorProcess(sim, tmp_path, listing=listing, plugins={"folder": str(plugins)},
                              backfill={"enabled": False}) as collector:
            collector.wait_until(lambda figures: figures["listing"]["signals"]["up"])
            assert collector.figures()["listing"]["signals"]["delivery"] == "push"
            collector.wait_until(lambda figures: figures["listing"]["windows"]["not_final"] == 1)
            assert collector.stop() == 0
    (record,) = listings(collector.data)
    assert (record.listing.source, record.listing.board, record.listing.symbol) == ("signals", "mine", "SOMI")
    assert record.trades
