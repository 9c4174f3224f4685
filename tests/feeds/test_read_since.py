"""Since when symbols are read."""

from __future__ import annotations

import math

from pumpwatch.feeds.read_since import ReadSince


def test_nothing_is_read_before_the_connection_came_up():
    assert ReadSince().of("A") == math.inf


def test_a_symbol_that_was_requested_later_is_read_from_its_grant_on_and_the_others_from_the_beginning():
    read = ReadSince()
    read.begin(100)
    read.change(["B"])
    read.record_granted({"A"}, 150)
    assert read.of("A") == 100 and read.of("B") == math.inf
    read.record_granted({"A", "B"}, 200)
    assert read.of("A") == 100 and read.of("B") == 200
    read.change(["B"])  # requested again: it is not read meanwhile
    assert read.of("B") == math.inf
    read.change([], ["B"])
    read.begin(300)
    assert read.of("A") == read.of("B") == 300
