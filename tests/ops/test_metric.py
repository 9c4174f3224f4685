"""A metric and its values by name."""

from __future__ import annotations

from pumpwatch.ops.metric import Sample, counter, gauge


def test_a_metric_has_the_prefix_and_its_values_have_its_labels() -> None:
    up = gauge("venue_up", "Is 1 while it is up.", lambda figures: [], "venue", "state")
    assert (up.full_name, up.kind) == ("pumpwatch_venue_up", "gauge")
    assert counter("trades_total", "Trades.", lambda figures: []).kind == "counter"
    assert Sample(up, ("binance.spot", "ok"), 1.0).named() == {"venue": "binance.spot", "state": "ok"}
