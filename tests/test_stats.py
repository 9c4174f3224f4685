"""Counters and gauges by name and labels."""

from __future__ import annotations

from pumpwatch.stats import Stats


def test_a_counter_adds_up_for_each_label_and_over_all():
    stats = Stats()
    stats.add("gaps_total", venue="a.spot", state="open")
    stats.add("gaps_total", 2, state="open", venue="a.spot")  # the order of labels does not matter
    stats.add("gaps_total", 4, venue="b.spot", state="open")
    assert stats.get("gaps_total", venue="a.spot", state="open") == 3
    assert stats.total("gaps_total") == 7


def test_a_gauge_keeps_its_last_value_and_an_unknown_one_is_0():
    stats = Stats()
    stats.set("lag_ms", 12.5, venue="a.spot")
    stats.set("lag_ms", 3.0, venue="a.spot")
    assert stats.get("lag_ms", venue="a.spot") == 3.0
    assert stats.get("lag_ms") == stats.get("lag_ms", venue="b.spot") == stats.total("other") == 0


def test_items_come_sorted_with_their_labels():
    stats = Stats()
    stats.set("b", 1)
    stats.add("a", venue="z")
    stats.add("a", venue="c")
    assert list(stats.items()) == [("a", {"venue": "c"}, 1), ("a", {"venue": "z"}, 1), ("b", {}, 1)]
