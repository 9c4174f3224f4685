"""listing show, replay and fake, as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pumpwatch.model import Listing
from pumpwatch.store.ledger import Ledger
from tests.commands.rendered import check_lines
from tests.commands.stored import START_NS, stored
from tests.ops.command_line import CommandLine

LISTED = Listing(source="upbit", notice_id="6642", symbol="C1", title="씨원(C1) 신규 거래지원 안내",
                 announced_at_ns=START_NS + 10**8, detected_at_ns=START_NS + 2 * 10**8, triggered_at_ns=START_NS + 3 * 10**8)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of a data folder with a listing that has its archive."""
    config = stored(tmp_path)
    ledger = Ledger(tmp_path)
    ledger.remember_listing(LISTED)
    ledger.close()
    return config


def test_a_listing_is_made_again_and_shown_by_coin_and_by_number(command: CommandLine, config: Path) -> None:
    made = command("listing", "replay", "C1", "--at", "2023-11-14T22:13:20Z", "-c", config)
    assert made.returncode == 0 and "trades of C1" in made.stderr
    for name in ("c1", "6642", "upbit:6642"):
        shown = command("listing", "show", name, "-c", config)
        text = check_lines([line for line in shown.stdout.splitlines() if not line.startswith("archive ")], 80)
        assert shown.returncode == 0 and "C1, listing upbit:6642" in text
        assert "first to move: " in text or "no market moved" in text
        assert "C1USDT" in text


def test_all_listings_are_a_line_each_and_name_the_next_command(command: CommandLine, config: Path) -> None:
    shown = command("listing", "show", "-c", config)
    assert [line.split()[0] for line in check_lines(shown.stdout.splitlines(), 80).splitlines()] == ["coin", "C1"]
    assert "listing show C1 -c " in shown.stderr
    row = json.loads(command("listing", "show", "--json", "-c", config).stdout)
    assert list(row)[:5] == ["id", "source", "notice_id", "coin", "title"] and row["state"] == "open"


def test_a_listing_that_does_not_exist_is_one_line_and_1(command: CommandLine, config: Path) -> None:
    shown = command("listing", "show", "NO\nPE", "-c", config)
    assert (shown.returncode, shown.stdout, shown.stderr) == (1, "", "listing `NO\\nPE` is not known\n")


def test_the_price_of_one_listing_is_drawn_on_demand(command: CommandLine, config: Path) -> None:
    command("listing", "replay", "C1", "--at", "2023-11-14T22:13:20Z", "-c", config)
    plain, drawn = (command("listing", "show", "C1", *more, "-c", config) for more in ((), ("--plot",)))
    assert drawn.returncode == 0 and drawn.stdout.startswith(plain.stdout)
    assert "┤" in drawn.stdout[len(plain.stdout):] and "┤" not in plain.stdout
    assert command("listing", "show", "--plot", "-c", config).returncode == 2


def test_an_archive_is_checked_against_its_manifest(command: CommandLine, config: Path) -> None:
    archive = Path(command("listing", "replay", "C1", "--at", "2023-11-14T22:13:20Z", "-c", config).stdout.strip())
    good = command("listing", "verify", archive)
    assert good.returncode == 0 and "match the manifest" in good.stdout
    with (archive / "chart.html").open("ab") as chart:
        chart.write(b" ")
    bad = command("listing", "verify", archive)
    assert bad.returncode == 1 and bad.stdout.startswith("chart.html: has ")
    row = json.loads(command("listing", "verify", "--json", archive).stdout)
    assert (row["good"], [fault["file"] for fault in row["faults"]]) == (False, ["chart.html"])
    nowhere = command("listing", "verify", archive / "none")
    assert nowhere.returncode == 2 and "no such folder" in nowhere.stderr
