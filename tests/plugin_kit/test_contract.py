"""Everything that a plugin offers is checked, each in its rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pumpwatch.config import Config, PluginsConfig
from pumpwatch.errors import BadFrame, UsageError
from pumpwatch.hookspecs import ListingSource, MarketSource, Pace, PushSource, SinkPlugin, Verdict
from pumpwatch.plugin_kit.check_recorded import RecordedFrames
from pumpwatch.plugin_kit.contract import check_plugin, check_sink, check_source, check_venue
from tests.plugin_kit.good_venue import FRAMES, LIST, SPOT, changed, history, results


def test_every_part_of_the_contract_has_its_rows() -> None:
    found = {row.check for row in check_venue(SPOT, FRAMES, instruments=[LIST], histories={"BTCUSDT": history()})}
    assert {"facts: limits", "parse is pure", "impossible values are refused", "subscribe within its limits",
            "instruments: bad bodies are refused", "order and ids", "recorded instruments",
            "recorded history of BTCUSDT"} <= found


def test_a_venue_with_a_wrong_fact_is_checked_no_further() -> None:
    assert {row.check.partition(":")[0] for row in check_venue(changed(exchange="X"), FRAMES)} == {"facts"}


def test_a_recording_may_hold_the_frames_of_all_markets_and_one_that_none_knows_fails_for_all() -> None:
    recorded = RecordedFrames(frames=[*FRAMES, b'{"e":"new"}'])
    rows = [row for row in check_plugin("binance", Config(), recorded, round_trip=False) if row.state == "fail"]
    assert {(row.of, row.check) for row in rows} == {
        (name, "frames are understood") for name in ("binance.spot", "binance.futures", "binance.futures:agg_trade")}


def test_a_plugin_that_does_not_load_is_one_row_and_an_unknown_one_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    config = Config(plugins=PluginsConfig(folder=str(tmp_path)))
    (row,) = check_plugin("broken", config)
    assert (row.check, row.state) == ("it loads", "fail") and "ZeroDivisionError" in row.detail
    with pytest.raises(UsageError, match="no plugin is called `brocken`"):
        list(check_plugin("brocken", config))


def source(**facts: Any) -> ListingSource:
    def reject(body: bytes) -> list[Any]:
        raise BadFrame("not a list of notices")

    given: dict[str, Any] = {"name": "board", "url": "https://example.com/notices", "headers": {}, "interval_s": 5.0,
                             "parse": reject, "verdict": lambda title: Verdict("other")}
    return ListingSource(**given | facts)


@pytest.mark.parametrize(("facts", "check"), [
    ({"url": "http://example.com"}, "facts"),
    ({"interval_s": 0.01}, "facts"),
    ({"parse": lambda body: []}, "bad bodies are refused"),
    ({"verdict": lambda title: title[0]}, "odd titles get a verdict"),
])
def test_a_listing_source_with_one_mistake_fails_where_it_is_made(facts: dict[str, Any], check: str) -> None:
    assert {state for state, _ in results(check_source(source())).values()} == {"ok"}
    assert [name for name, (state, _) in results(check_source(source(**facts))).items() if state == "fail"] == [check]


def test_a_list_of_markets_and_a_push_source_are_checked_by_their_own_facts() -> None:
    def reject(body: bytes) -> list[Any]:
        raise BadFrame("not a list")

    markets = MarketSource(name="m", url="https://example.com", headers={}, interval_s=5.0, parse=reject)
    push = PushSource(name="p", listen=print, parse=reject, verdict=lambda title: Verdict("other"))  # type: ignore[arg-type]
    assert [row.state for row in check_source(markets)] == ["ok"] * 2
    assert [row.state for row in check_source(push)] == ["ok"] * 3
    slow = replace(markets, pace=Pace(utc_offset_min=0, day=(0, 1), night_s=15.0, quick_s=0.1))
    assert [row.check for row in check_source(slow) if row.state == "fail"] == ["facts"]
    deaf = replace(push, listen=None)  # type: ignore[arg-type]
    assert [row.check for row in check_source(deaf) if row.state == "fail"] == ["facts"]


class Options(msgspec.Struct, forbid_unknown_fields=True):
    path: str = ""


class Loose(msgspec.Struct):
    path: str = ""


def test_a_sink_without_its_methods_or_with_loose_options_is_named() -> None:
    row = check_sink(SinkPlugin("mine", Options, lambda options: object()))  # type: ignore[arg-type, return-value]
    assert row.state == "fail" and "methods are missing: close, open, read" in row.detail
    row = check_sink(SinkPlugin("mine", Loose, lambda options: object()))  # type: ignore[arg-type, return-value]
    assert "accepts unknown keys" in row.detail
    assert json.dumps(row.as_json())
