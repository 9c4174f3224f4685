"""collect: words that exclude each other or name nothing end before anything runs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pumpwatch.ops.renewal_request import take_requests
from tests.ops.command_line import CommandLine


@pytest.mark.parametrize(("words", "says"), [
    (("--exchange", "binanse"), "pumpwatch: --exchange binanse: no plugin offers it\n  did you mean `binance`? offered: binance"),
    (("--exchange", "okx", "--coin", "PE/PE"), "pumpwatch: `PE/PE` is not a coin")])
def test_collect_names_an_exchange_or_coin_that_cannot_be_meant(command: CommandLine, words: tuple[str, ...], says: str) -> None:
    done = command("collect", *words)
    assert done.returncode == 2 and done.stderr.startswith(says)


def test_renew_asks_the_running_collector_for_the_chosen_venues(command: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "pumpwatch.yaml"
    config.write_text(f"store:\n  dir: {tmp_path}\n")
    assert command("renew", "-c", config).returncode == 69
    rows = [{"exchange": exchange, "market_type": market} for exchange in ("okx", "gate") for market in ("spot", "futures")]
    (tmp_path / "status.json").write_text(json.dumps(
        {"pid": os.getpid(), "written_at_ns": time.time_ns(), "written_monotonic_s": time.monotonic(), "venues": rows}))
    done = command("renew", "okx", "gate.spot", "-c", config)
    assert done.returncode == 0 and "requested: new connections for okx.spot, okx.futures, gate.spot" in done.stderr
    assert take_requests(tmp_path) == {"okx.spot", "okx.futures", "gate.spot"}
    assert command("renew", "-c", config).returncode == 0 and len(take_requests(tmp_path)) == 4
    wrong = command("renew", "okex", "-c", config)
    assert wrong.returncode == 2 and "no venue `okex` is collected" in wrong.stderr and take_requests(tmp_path) == set()


def test_collect_of_an_exchange_that_the_config_switches_off_ends_with_78(command: CommandLine) -> None:
    done = command("collect", "--exchange", "okx", env={"PUMPWATCH_EXCHANGES__OKX__ENABLED": "false"})
    assert done.returncode == 78 and "no venue is enabled" in done.stderr
