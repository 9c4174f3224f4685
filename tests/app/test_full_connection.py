"""A venue whose connections hold fewer symbols than its documents say: what one refuses, another takes."""

from __future__ import annotations

import time

import yaml

from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare
from pumpwatch.store.ledger import Ledger
from tests.app.collector import CollectorProcess
from tests.app.reckoning import settle, stored_of

VENUES = ["phemex.spot", "kucoin.spot", "binance.spot"]  # a symbol a request, a hundred a topic, streams
ROOM, SYMBOLS = 30, 50


def test_symbols_that_a_full_connection_rejects_are_read_on_another_and_none_is_left_out(tmp_path):
    rules = {venue: {"streams_per_connection": ROOM} for venue in VENUES}
    with SimProcess(venues=VENUES, symbols=SYMBOLS, rate=900.0, paused=True, rules=rules,
                    folder=str(tmp_path / "venues")) as sim, CollectorProcess(sim, tmp_path) as collector:
        figures = collector.wait_until(
            lambda figures: len(figures["venues"]) == len(VENUES) and all(map(_stands, figures["venues"])))
        sim.resume()
        time.sleep(2)
        settle(sim, collector)
        assert collector.stop() == 0
        truth = sim.truth()
        counted = compare(truth, *stored_of(truth, collector.data))
    assert [row["refused"] for row in figures["venues"]] == [[], [], []]
    assert all(2 <= row["connections"] <= 3 for row in figures["venues"])
    assert counted.equal and counted.sent > 1000, counted
    ledger = Ledger(collector.data)
    full = [event for event in ledger.connection_events() if event.event == "full"]
    ledger.close()
    assert {event.exchange for event in full} == {venue.split(".")[0] for venue in VENUES}


def test_the_longest_names_never_fill_a_connection_beyond_its_characters(tmp_path):
    names = [f"{number:03}{'L' * 80}" for number in range(500)]
    with SimProcess(venues=["bybit.futures"], symbols=names, rate=300.0, paused=True,
                    folder=str(tmp_path / "venues")) as sim:
        (venue,) = yaml.safe_load(sim.config_yaml())["exchanges"].values()
        asked = {"bybit": {"spot": {"enabled": False}, "futures": venue["futures"] | {"symbols_per_connection": 600}}}
        with CollectorProcess(sim, tmp_path, exchanges=asked) as collector:
            figures = collector.wait_until(lambda figures: figures["venues"] and figures["venues"][0]["subscribed"] == 500)
            assert collector.stop() == 0
    assert figures["venues"][0]["connections"] == 3 and not figures["venues"][0]["refused"]
    assert "WARNING feeds" not in collector.log()


def _stands(row):
    return row["subscribed"] == row["instruments"] >= SYMBOLS and row["connections_up"] == row["connections"]
