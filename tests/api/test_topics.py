"""The figures of the page: small, of this second, and of a collector that has just begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pumpwatch.api.topics import LISTINGS, SPAN_S, Rates, Sources, Topics
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config import Config
from pumpwatch.errors import StorageError
from pumpwatch.model import Instrument, Listing
from pumpwatch.stats import Stats
from pumpwatch.store.listed import ListingRecord


def venue(name: str, **changes: Any) -> dict[str, Any]:
    exchange, _, market_type = name.partition(".")
    return {"exchange": exchange, "market_type": market_type, "connections": 2, "connections_up": 2, "down_s": 0.0,
            "connected_ns": 0, "traded_ns": 0, "instruments": 10, "subscribed": 10, "silent": [], "lag_ms": 12.5, "gaps_open": 1,
            "gaps_filled": 2, "gaps_lost": 3, "problem": "", "list_problem": "", "redundancy_problem": "", **changes}


def figures(*venues: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "version": "1", "up_s": 5.0, "written_monotonic_s": 100.0, "cpu_s": 1.0, "venues": list(venues),
        "journal": {"backlog_trades": 1, "bytes": 2, "commits": 3, "durable_trades": 4, "dropped_trades": 0, "durable_ms_p50": 5,
                    "durable_ms_p99": 6, "durable_ms": [[1, 2]]},
        "recent": {"trades": 7, "bytes": 8}, "sinks": [{"name": "s", "state": "up", "backlog_trades": 0}], "stores": [],
        "backfill": {},
        "notify": [], "listing": {"windows": {"open": 1, "not_final": 2}},
        "memory": {"rss_bytes": 1, "limit_bytes": 2, "level": "ok", "recent_limit_bytes": 3},
        "disk": {"free_bytes": 1, "used_share": 0.5, "level": "ok", "days_left": None, "disks": []}, **changes}


class Bench:
    """Topics over figures that a test sets."""

    def __init__(self) -> None:
        self.clock, self.stats, self.catalogue = FakeClock(), Stats(), Catalogue()
        self.now: dict[str, Any] = {}
        self.records: list[ListingRecord] | StorageError = []
        self.topics = Topics(Sources(
            Config(), self.clock, self.stats, self.catalogue, lambda: self.now, list, self._listings, list))

    def _listings(self) -> Sequence[ListingRecord]:
        if isinstance(self.records, StorageError):
            raise self.records
        return self.records

    def tick(self, trades: int = 0, name: str = "a.spot") -> None:
        self.stats.add("trades_total", trades, venue=name)
        self.clock.advance(1.0)
        self.topics.tick()


def record(coin: str, at_s: int, **changes: Any) -> ListingRecord:
    listing = Listing(source="upbit", notice_id="7", symbol=coin, title="KRW", announced_at_ns=at_s * NS_PER_S,
                      detected_at_ns=(at_s + 1) * NS_PER_S, triggered_at_ns=(at_s + 1) * NS_PER_S)
    return ListingRecord(listing, **{"archive": "", "trades": None, **changes})


def test_rates_are_of_the_last_second() -> None:
    bench = Bench()
    bench.now = figures(venue("a.spot"), venue("a.futures"))
    for trades in (0, 50, 80):
        bench.tick(trades)
    shown = bench.topics.figures()
    assert [(row["name"], row["rate"]) for row in shown["venues"]] == [("a.spot", 80.0), ("a.futures", 0.0)]
    assert (shown["rate"], shown["second"]) == (80.0, 2)


def test_the_history_holds_five_minutes_and_the_sum_of_all() -> None:
    rates = Rates()
    for second in range(SPAN_S + 10):
        rates.add(float(second), {"a.spot": 3.0 * second} | ({"b.spot": 2.0 * second} if second > 200 else {}))
    history = rates.history()
    assert history["end"] == SPAN_S + 9
    assert {name: len(values) for name, values in history["venues"].items()} == {"": SPAN_S, "a.spot": SPAN_S, "b.spot": 109}
    assert history["venues"][""][0] == 3.0 and history["venues"][""][-1] == 5.0


def test_a_collector_that_has_just_begun_has_no_figures_and_an_empty_history() -> None:
    bench = Bench()
    bench.tick()
    assert bench.topics.figures() == {} and bench.topics.boards() == []
    assert Rates().history() == {"end": 0, "venues": {"": []}}


def test_ages_are_of_the_oldest_connection_and_the_last_trade() -> None:
    bench = Bench()
    now_ns = bench.clock.now_ns()
    bench.now = figures(venue("a.spot", connected_ns=now_ns - 90 * NS_PER_S, traded_ns=now_ns - 2 * NS_PER_S), venue("b.spot"))
    first, second = bench.topics.figures()["venues"]
    assert (first["age_s"], first["quiet_s"], second["age_s"]) == (90.0, 2.0, None)


def test_cpu_is_a_share_of_a_core_over_the_last_seconds() -> None:
    bench = Bench()
    assert bench.topics._cpu_share() is None
    for second in range(4):
        bench.now = figures(written_monotonic_s=100.0 + second, cpu_s=1.0 + 0.25 * second)
        bench.tick()
        bench.tick()  # the same figures once more
    assert bench.topics.figures()["cpu"] == 0.25


def test_memory_and_disk_come_with_their_limits() -> None:
    bench = Bench()
    bench.now = figures()
    shown = bench.topics.figures()
    assert shown["memory"] == {"rss_bytes": 1, "limit_bytes": 2, "level": "ok"}
    assert shown["disk"] == {"free_bytes": 1, "used_share": 0.5, "level": "ok", "days_left": None, "limits": [0.7, 0.85, 0.95]}


def test_boards_are_the_sources_and_not_the_windows() -> None:
    bench = Bench()
    bench.stats.set("listing_answered_at_ns", 5_000_000, source="upbit")
    bench.now = figures(listing={"upbit": {"up": True, "reason": "", "delivery": "pull"},
                                 "pushed": {"up": False, "reason": "away", "delivery": "push"}, "windows": {}})
    assert bench.topics.boards() == [
        {"name": "upbit", "up": True, "reason": "", "push": False, "answered_ms": 5},
        {"name": "pushed", "up": False, "reason": "away", "push": True, "answered_ms": 0}]


def test_the_last_listings_come_first_and_stay_where_the_ledger_does_not_answer() -> None:
    bench = Bench()
    bench.records = [record(f"C{number}", 1000 + number, trades=5, archive="/data/x/C_1") for number in range(LISTINGS + 5)]
    rows = bench.topics.listings()
    assert [row["coin"] for row in rows[:2]] == [f"C{LISTINGS + 4}", f"C{LISTINGS + 3}"] and len(rows) == LISTINGS
    assert rows[0] | {"title": ""} == {
        "id": f"upbit:7:C{LISTINGS + 4}", "coin": f"C{LISTINGS + 4}", "source": "upbit", "title": "",
        "announced_ms": (1000 + LISTINGS + 4) * 1000, "seen_after_ms": 1000.0, "drill": False, "trades": 5, "archive": "C_1",
        "ends_ms": (1000 + LISTINGS + 5 + int(Config().listing.after_s)) * 1000, "problem": ""}
    bench.records = StorageError("the ledger does not answer")
    assert bench.topics.listings() == rows


def test_coins_are_read_again_when_a_venue_lists_another_one() -> None:
    bench = Bench()

    def add(base: str) -> None:
        bench.catalogue.add(("a", "spot"), Instrument(symbol=f"{base}USDT", base=base, quote="USDT"))

    add("SOL")
    before = bench.topics.coins()
    assert before == ["SOL"] and bench.topics.coins() is before
    add("ADA")
    assert bench.topics.coins() == ["ADA", "SOL"]


@pytest.mark.parametrize("key", ["problem", "list_problem", "redundancy_problem"])
def test_a_venue_says_its_problem(key: str) -> None:
    bench = Bench()
    bench.now = figures(venue("a.spot", **{key: "it is away"}))
    assert bench.topics.figures()["venues"][0]["problem"] == "it is away"


@pytest.mark.parametrize("rollout", [{}, {"sink": "questdb", "status": "running", "percent": 10}])
def test_a_roll_out_is_shown_as_the_status_has_it(rollout: dict[str, Any]) -> None:
    bench = Bench()
    bench.now = figures(venue("a.spot"), rollout=rollout)
    assert bench.topics.figures()["rollout"] == rollout
