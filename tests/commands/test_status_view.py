"""The figures of a collector in a terminal: no column is cut at 80 columns, and nothing that is wrong is left out."""

from __future__ import annotations

import pytest

from pumpwatch.commands.status_view import status_lines
from tests.commands.figures import NOW_NS, figures, venue
from tests.commands.rendered import check_lines


def test_at_80_columns_a_venue_is_one_line_and_no_heading_is_cut() -> None:
    lines = status_lines(figures(), NOW_NS, 80)
    check_lines(lines, 80)
    assert lines[:4] == ["PumpWatch 0.1.0, pid 4711, up 1:02:05", "",
                         "venue         up    symbols         trades  per s  lag ms  gaps  quarantined",
                         "binance.s  12/12  1203/1204  1,234,567,890  5,123      61     1            0"]
    assert sum(line.startswith("okx.") for line in lines) == 2


def test_at_120_columns_names_are_whole() -> None:
    text = check_lines(status_lines(figures(), NOW_NS, 120), 120)
    for expected in ("binance.futures", "connections", "subscribed", "rejected", "open gaps", "quarantined", "trades/s"):
        assert expected in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_stores_and_boards_follow_in_words(width: int) -> None:
    text = check_lines(status_lines(figures(), NOW_NS, width), width)
    for expected in ("1.5 GB, 4,321 trades not yet durable, 99 commits", "900,000 recent trades, 20.0 MB",
                     "up, 17 trades behind", "down, HTTP 429 [/]", "2 open, 1 not final"):
        assert expected in text


def test_a_source_that_was_not_asked_yet_is_not_down() -> None:
    text = check_lines(status_lines(figures(listing={"upbit": {"up": None, "reason": ""}}), NOW_NS, 120), 120)
    assert "not asked yet" in text and "down" not in text


@pytest.mark.parametrize("width", [60, 80, 160])
def test_whatever_has_no_column_is_said_in_words(width: int) -> None:
    venues = [venue("alpha", "spot", refused=["AUSDT", "BUSDT"], silent=["C"], quarantined_total=7_654,
                    list_problem="HTTP 502: [/busy]", problem="connection 3: reset by peer"), venue("beta", "futures")]
    text = check_lines(status_lines(figures(venues=venues), NOW_NS, width), width)
    for expected in ("7,654", "list of alpha.spot", "HTTP 502: [/busy]", "connection 3: reset by peer", "rejected", "silent",
                     "quarantined"):
        assert expected in text
    if width == 60:
        assert "alpha.spot 2" in text and "beta.futures 0" not in text


def pair(number: int, **figures: object) -> dict[str, object]:
    return {"connection": number, "double": 1000 + number, "symbols": 9, "up": [True, True], "first": [70, 30],
            "lead_ms": [1.24, 0.4], **figures}


def test_of_each_pair_of_connections_it_says_which_was_first_and_by_how_much() -> None:
    pairs = [pair(0), pair(1, first=[0, 0], up=[True, False]), *(pair(number) for number in range(2, 9))]
    venues = [venue("alpha", "spot", pairs=pairs), venue("beta", "futures")]
    text = check_lines(status_lines(figures(venues=venues), NOW_NS, 80), 80)
    for expected in ("two connections, numbered N and 1000 + N, read the same symbols", "alpha.spot",
                     "0 first for 70% (by 1.2 ms), 1000 for 30% (by 0.4 ms)", "1 and 1001: no trade compared yet, 1001 is down",
                     "5 more (--json)"):
        assert expected in " ".join(text.split())
    assert "read twice" not in check_lines(status_lines(figures(), NOW_NS, 80), 80)
    alone = [venue("alpha", "spot", pairs=[pair(0, first=[9, 0])])]
    assert "0 first for 100% (by 1.2 ms), 1000 for 0%" in " ".join(check_lines(
        status_lines(figures(venues=alone), NOW_NS, 80), 80).split())


def test_a_reason_of_several_venues_is_said_once_with_their_names() -> None:
    venues = [venue(name, "spot", problem=f"connection {number}: {name}.example:443: HTTP 503", list_problem="no route to host")
              for number, name in enumerate(("alpha", "beta"))]
    text = " ".join(check_lines(status_lines(figures(venues=[*venues, venue("gamma", "spot")]), NOW_NS, 80), 80).split())
    assert text.count("HTTP 503") == 1 and "2 venues HTTP 503 (alpha.spot, beta.spot)" in text
    assert "list of 2 venues no route to host (alpha.spot, beta.spot)" in text
    assert "HTTP 503 (all 2 venues)" in " ".join(check_lines(status_lines(figures(venues=venues), NOW_NS, 80), 80).split())


def test_symbols_that_are_not_read_twice_and_connections_still_to_renew_are_named() -> None:
    why = "S1: on one connection instead of two, as the venue rejects the second: no"
    venues = [venue("alpha", "spot", redundancy_problem=why, renewing=2), venue("beta", "spot", renewing=1)]
    text = " ".join(check_lines(status_lines(figures(venues=venues), NOW_NS, 80), 80).split())
    assert why in text and "still to renew alpha.spot 2 connections, beta.spot 1 connection" in text


def test_a_collector_that_just_started_has_a_table_too() -> None:
    assert status_lines({}, NOW_NS, 80)[0] == "PumpWatch , pid None, up 0:00:00"


@pytest.mark.parametrize("width", [80, 120])
def test_the_alerts_that_stand_are_there_with_their_age_and_their_section_of_the_runbook(width: int) -> None:
    alert = {"name": "VenueSilent", "subject": "okx.spot", "severity": "critical", "summary": "okx.spot is silent",
             "description": "No trade of okx.spot was read for 600 s.", "value": 600.0, "threshold": 120.0,
             "since_ns": NOW_NS - 480 * 10**9, "runbook": "docs/runbook.md#venuesilent"}
    text = check_lines(status_lines(figures(active_alerts=[alert]), NOW_NS, width), width)
    assert "CRITICAL" in text and "No trade of okx.spot was read for 600 s." in text
    assert "VenueSilent since 8 min, see docs/runbook.md#venuesilent" in " ".join(text.split())


def test_a_channel_has_its_counts_and_its_trouble() -> None:
    channel = {"name": "phone", "up": False, "reason": "it answers HTTP 500", "sent": 3, "failed": 2, "waiting": 1, "given_up": 0}
    channels = [channel, channel | {"name": "hook", "up": True, "given_up": 4}]
    text = " ".join(check_lines(status_lines(figures(notify=channels), NOW_NS, 120), 120).split())
    assert "notify phone 3 sent, 2 failed, 1 waiting; it answers HTTP 500" in text
    assert "notify hook 3 sent, 2 failed, 1 waiting, 4 given up" in text


def test_disks_and_memory_are_said_in_words() -> None:
    disks = [{"name": "store", "used_share": 0.86, "free_bytes": 7_000_000_000, "days_left": 2.54, "level": "emergency"},
             {"name": "archives", "used_share": 0.1, "free_bytes": 9_000_000_000, "days_left": None, "level": "ok"},
             {"name": "questdb", "used_share": None}]
    memory = {"rss_bytes": 300_000_000, "limit_bytes": 900_000_000, "level": "shrunk"}
    text = check_lines(status_lines(figures() | {"disk": {"disks": disks}, "memory": memory}, NOW_NS, 120), 120)
    assert "86% used, 7.0 GB free, full in 2.5 days, emergency" in text and "10% used, 9.0 GB free" in text
    assert "300.0 MB of 900.0 MB, shrunk" in text and "disk questdb" not in text


def test_candles_are_named_only_while_they_are_not_made() -> None:
    broken = {"market": {"problem": "it ended", "problems": {"candle upkeep": "the disk is full"}}}
    text = check_lines(status_lines(figures() | broken, NOW_NS, 120), 120)
    assert "not made: it ended" in text and "candle upkeep: the disk is full" in text
    assert "candles" not in "".join(status_lines(figures() | {"market": {"problem": ""}}, NOW_NS, 120))
