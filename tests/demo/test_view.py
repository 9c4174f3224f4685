"""The demo in a terminal and in a pipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.demo.run import Demo, DemoSight, Report
from pumpwatch.demo.view import DemoProgress, display_lines, next_lines, report_lines
from tests.commands.rendered import check_lines

REPORT = Report(
    sent=169_409, stored=169_409, missing=0, doubled=0, unknown=0, different=0, fetched=0, store="QuestDB 127.0.0.1:9000",
    seconds=52.0, trades_per_s=3258.0, cpu_us_per_trade=61.2, cpu_percent_of_a_core=19.9, max_rss_bytes=242_000_000,
    durable_ms_p50=65, durable_ms_p99=121, coin="SOMI", archive="/d/SOMI_20261127T130258Z", archive_trades=13_707,
    chart="/d/SOMI_20261127T130258Z/chart.html", data="/d",
    config="/d/pumpwatch.yaml")


def demo_of(step: str) -> Demo:
    demo = Demo(52.0, 2000.0, "", Path("/d"))
    demo.step = step
    return demo


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_of_a_good_run_is_a_few_lines(width: int) -> None:
    lines = report_lines(REPORT, width)
    text = check_lines(lines, width)
    assert lines[0] == "Every trade that was sent is stored exactly once."
    for expected in ("sent by the venues", "169,409", "stored in QuestDB 127.0.0.1:9000", "missing", "61.2 µs", "121 ms",
                     "half within 65 ms", "archive /d/SOMI_20261127T130258Z", "data /d"):
        assert expected in " ".join(text.split())


def test_both_sources_of_the_listing_are_shown_with_their_delays() -> None:
    seen = (DemoSight("upbit", "notice", 1234.0), DemoSight("upbit_markets", "market_opened", 4567.0))
    text = " ".join(check_lines(report_lines(replace(REPORT, sights=seen), 80), 80).split())
    assert "seen by upbit 1.2 s after its publication" in text
    assert "seen by upbit_markets 4.6 s after it: its market is open" in text


def test_a_run_that_lost_a_trade_says_so_first() -> None:
    assert report_lines(replace(REPORT, stored=169_408, missing=1), 80)[0].startswith("Sent and stored differ")
    assert report_lines(replace(REPORT, archive="", archive_trades=0, chart=""), 80)[-3:] == [
        "archive  none", "data     /d", "chart    none"]


def test_commands_look_at_what_was_recorded_and_trade_it_on_paper() -> None:
    assert next_lines(REPORT, "bin/pumpwatch", "my demo/pumpwatch.yaml") == [
        "", "Look at it:", "  bin/pumpwatch listing show SOMI -c 'my demo/pumpwatch.yaml'",
        "  bin/pumpwatch trades SOMI -c 'my demo/pumpwatch.yaml'",
        "  bin/pumpwatch paper run --archive /d/SOMI_20261127T130258Z --delay-ms 100,300 -c 'my demo/pumpwatch.yaml'",
        "  bin/pumpwatch verify -c 'my demo/pumpwatch.yaml'"]
    assert not any("paper" in line for line in next_lines(replace(REPORT, archive=""), "pumpwatch", "c.yaml"))


def test_progress_is_a_line_at_each_step_and_every_five_seconds() -> None:
    said: list[str] = []
    now_s = [100.0]
    progress = DemoProgress(said.append, lambda: now_s[0])
    demo = demo_of("starting the simulated venues")
    progress.show(demo)
    progress.show(demo)
    now_s[0] += 6
    progress.show(demo)
    demo.step = "SOMI is listed: its window closes in 9 s"
    progress.show(demo)
    demo.step = "SOMI is listed: its window closes in 8 s"  # another second of the same step
    progress.show(demo)
    assert said == ["  0 of 52 s: starting the simulated venues"] * 2 + ["  0 of 52 s: SOMI is listed: its window closes in 9 s"]


class Served(Demo):
    """A demo whose page is there."""

    page = "http://127.0.0.1:8321/"


def test_the_address_of_the_page_is_said_once() -> None:
    said: list[str] = []
    progress = DemoProgress(said.append, lambda: 100.0)
    demo = Served(52.0, 2000.0, "", Path("/d"))
    progress.show(demo)
    progress.show(demo)
    assert said == ["page http://127.0.0.1:8321/", "  0 of 52 s: starting the simulated venues"]


def test_the_display_begins_before_there_is_a_collector() -> None:
    assert display_lines(demo_of("starting the simulated venues"), 80) == [
        "░░░░░░░░░░░░░░░░░░░░   0 of 52 s: starting the simulated venues"]
