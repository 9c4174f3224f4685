"""gaps, as a person and a script meet it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill, Records
from pumpwatch.store.ledger import Ledger
from tests.commands.rendered import check_lines
from tests.commands.stored import LONG_AGO, START_NS, stored
from tests.ops.command_line import CommandLine

S = 10**9
GAP = Gap(exchange="binance", market_type="spot", symbol="", from_ns=START_NS, to_ns=START_NS + 7 * S, first_id=None,
          last_id=None, reason="not running")
GAPS = [GAP, replace(GAP, market_type="futures"),
        replace(GAP, exchange="okx", symbol="BTC-USDT", from_ns=START_NS + 60 * S, to_ns=START_NS + 61 * S, first_id=7, last_id=9,
                reason="ids jump"),
        replace(GAP, symbol="ETHUSDT", state=GapState.FILLED)]


def test_gaps_sums_up_an_outage_in_one_row(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path, gaps=GAPS)
    done = command("gaps", "-c", config, "--from", LONG_AGO)
    assert done.returncode == 1 and done.stderr == "3 gaps\n"
    assert done.stdout.splitlines() == [
        "2 outages, 2023-11-14 UTC",
        "from                 lasted  venues    symbols    state  reason",
        "2023-11-14 22:13:20   7.0 s  2 venues  8 symbols  open   not running",
        "2023-11-14 22:14:20   1.0 s  okx.spot  BTC-USDT   open   ids jump"]


def test_gaps_all_has_a_row_for_each_gap_with_those_that_were_filled(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path, gaps=GAPS)
    lines = command("gaps", "-c", config, "--from", LONG_AGO, "--all").stdout.splitlines()
    check_lines(lines, 80)
    assert lines[0] == "4 gaps, 2023-11-14 UTC" and len(lines) == 6
    wide = command("gaps", "-c", config, "--from", LONG_AGO, "--all", env={"COLUMNS": "120"}).stdout
    assert "7 to 9" in wide and "filled" in wide and "okx.spot" in wide
    last = command("gaps", "-c", config, "--from", LONG_AGO, "--all", "--limit", "1").stdout.splitlines()
    assert last[0] == "the last 1 of 4 gaps, 2023-11-14 UTC" and len(last) == 3 and "ids jump" in last[2]


def test_filled_gaps_alone_are_exit_code_0_with_all_as_well(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path, gaps=GAPS[3:])
    done = command("gaps", "-c", config, "--from", LONG_AGO, "--all")
    assert done.returncode == 0 and "ETHUSDT" in done.stdout and done.stderr == "1 gap\n"


def test_gaps_as_json_are_all_of_them_with_their_own_keys(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path, gaps=GAPS)
    rows = [json.loads(line) for line in command("gaps", "-c", config, "--from", LONG_AGO, "--json", "--limit", "1")
            .stdout.splitlines()]
    assert len(rows) == 3
    assert {"exchange": "okx", "market_type": "spot", "symbol": "BTC-USDT", "from_ns": START_NS + 60 * S,
            "to_ns": START_NS + 61 * S, "first_id": 7, "last_id": 9, "state": "open", "reason": "ids jump",
            "symbols": []} in rows


def test_a_folder_without_data_has_no_gaps_to_list(command: CommandLine, tmp_path: Path) -> None:
    done = command("gaps")
    assert done.returncode == 69 and "nothing is stored in" in done.stderr


def test_gaps_that_were_filled_say_how_many_trades_and_by_what(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path, gaps=GAPS)
    ledger = Ledger(tmp_path)
    jump = next(gap for gap in GAPS if gap.first_id is not None)
    ledger.write(Records(gaps=[replace(jump, state=GapState.FILLED)], fills=[
        GapFill(gap=jump, symbol=jump.symbol, state=GapState.FILLED, found=1204, missing=0, by="id")]))
    ledger.close()
    done = command("gaps", "-c", config, "--from", LONG_AGO)
    assert "filled 1,204 of 1,204 by id" in done.stdout and done.stderr == "2 gaps, and 1 more that is filled\n"
    check_lines(done.stdout.splitlines(), 80)
    rows = [json.loads(line) for line in command("gaps", "-c", config, "--from", LONG_AGO, "--json", "--all").stdout.splitlines()]
    assert [row["fill"]["found"] for row in rows if "fill" in row] == [1204]
