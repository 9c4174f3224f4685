"""The page of a run: what it holds, and that it runs nothing but its own scripts."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.chart import LIBRARY, page_file, script_hash
from pumpwatch.paper.results import RunResult
from pumpwatch.paper.run_page import OWN, PriceLine, price_text, run_page
from pumpwatch.paper.summary import summarise
from tests.paper.made_runs import AT, SYMBOL, VENUE, archive_with_prices, listing, run_of


def page(run: RunResult, prices: Any = None) -> str:
    return run_page(run, summarise(run), prices).decode()


def data_of(text: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return list(json.loads(found[1]))


def test_prices_fills_and_values_are_in_the_steps_of_their_times(tmp_path: Path) -> None:
    (chart,) = data_of(page(run_of(listing("SOMI", [5.0, -3.0], str(archive_with_prices(tmp_path / "SOMI_1"))))))
    (venue,) = chart["venues"]
    assert venue["name"] == f"{VENUE} {SYMBOL}" and len(venue["at"]) == len(venue["price"]) > 100
    assert chart["first_ms"] + chart["zero"] * chart["step_ms"] == 0
    fast, slow = chart["delays"]
    assert [(fill["at"] - chart["zero"], fill["side"], fill["price"]) for fill in fast["fills"]] == [
        (100 // chart["step_ms"], "buy", 2.0), (8000 // chart["step_ms"], "sell", 2.1)]
    assert (fast["value"][0], fast["value"][-1], slow["value"][-1]) == (1000.0, 1050.0, 970.0)


def test_prices_can_be_given_and_those_of_a_bundle_are_of_one_coin() -> None:
    line = PriceLine(VENUE, SYMBOL, np.array([AT - NS_PER_S, AT]), np.array([3000.0, 4000.0]), multiplier=1000)
    other = PriceLine("okx.spot", SYMBOL, np.array([AT]), np.array([3.0]))
    (chart,) = data_of(page(run_of(listing("SOMI", [5.0])), {0: [line, other]}))
    assert [venue["price"] for venue in chart["venues"]] == [[3.0, 4.0]]  # the market that was not traded is left out
    assert chart["delays"][0]["fills"][0]["price"] == 0.002


def test_a_listing_whose_archive_is_gone_is_shown_without_prices(tmp_path: Path) -> None:
    (chart,) = data_of(page(run_of(listing("SOMI", [5.0], str(tmp_path / "gone")))))
    assert chart["venues"] == [] and chart["delays"][0]["fills"] == [] and len(chart["delays"][0]["at"]) > 10


def test_a_run_of_several_listings_has_their_summary_and_names_those_left_out() -> None:
    text = page(run_of(listing("SOMI", [5.0]), listing("KITE", [None]), listing("<b>X", [], "data/X_1", "it is cut & old")))
    assert "<h2>All listings</h2>" in text and "it is cut &amp; old" in text
    assert "&lt;b&gt;X" in text and "<b>X" not in text
    assert "<h2>All listings</h2>" not in page(run_of(listing("SOMI", [5.0])))


def test_only_its_own_scripts_may_run_and_nothing_is_loaded() -> None:
    text = page(run_of(listing("</script><script>alert(1)</script>", [5.0])))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert [script_hash(script) for script in scripts] == [script_hash(page_file(LIBRARY)), script_hash(page_file("run.js", OWN))]
    assert all(script_hash(script) in text for script in scripts)
    assert re.findall(r'(?:src|href)="(?!https://www\.tradingview\.com/)', text) == []


@pytest.mark.parametrize(("price", "text"), [("0.00000812345678", "0.000008123457"), ("2", "2"), ("1E+5", "100000"), (None, "-")])
def test_a_price_is_never_written_with_an_exponent(price: str | None, text: str) -> None:
    assert price_text(Decimal(price) if price else None) == text
