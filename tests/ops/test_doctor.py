"""`doctor` finds what is wrong with a data folder."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.config_listing import ListingConfig
from pumpwatch.listing.replay import replay, show
from pumpwatch.model import Gap, GapState
from pumpwatch.ops import health, preflight
from pumpwatch.ops.doctor import examine
from pumpwatch.ops.preflight import FAIL, NOTE, OK, WARN, Finding, exit_code
from pumpwatch.records import ConnectionEvent, Quarantined, Records
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.sqlite import DamagedError
from tests.ops.command_line import CommandLine
from tests.ops.data_folder import figures, store

GAP = Gap(exchange="binance", market_type="spot", symbol="", from_ns=0, to_ns=7_000_000_000, first_id=None, last_id=None,
          reason="not running", state=GapState.OPEN)


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.state for finding in findings}


def details(findings: list[Finding]) -> str:
    return "\n".join(finding.detail for finding in findings)


def test_a_new_folder_is_fine_and_stays_empty(tmp_path: Path) -> None:
    assert states(list(examine(tmp_path / "data"))) == {"data": OK}
    assert not (tmp_path / "data").exists()


def test_a_good_folder_without_a_collector_is_a_warning(tmp_path: Path) -> None:
    store(tmp_path)
    found = list(examine(tmp_path))
    assert states(found) == {"collector": WARN, "journal": OK, "gaps": OK, "quarantine": OK}
    assert "1 segment, 1,000 trades, 0." in details(found)


def test_gaps_and_quarantined_frames_are_counted_with_their_reasons(tmp_path: Path) -> None:
    store(tmp_path, Records(gaps=[GAP], quarantine=[Quarantined(1, "binance", "spot", "not JSON", b"{")]))
    found = list(examine(tmp_path))
    assert states(found)["gaps"] == states(found)["quarantine"] == WARN
    assert "1 open, 0 lost, 0 filled; 1 not running; 7 s in all, of whole venues and connections" in details(found)


def test_gaps_are_listed_with_where_when_and_why(tmp_path: Path, command: CommandLine) -> None:
    store(tmp_path, Records(gaps=[
        GAP, replace(GAP, exchange="okx", symbol="BTC-USDT", from_ns=10**18, to_ns=10**18 + 5, first_id=7, last_id=9,
                     reason="ids jump"),
        replace(GAP, symbol="ETHUSDT", state=GapState.FILLED)]))
    config = tmp_path / "c.yaml"
    config.write_text(f"store: {{dir: {tmp_path}}}", "utf-8")

    def gaps(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
        done = command("gaps", "-c", str(config), "--json", *arguments)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    code, rows, said = gaps("--from", "1970-01-01T00:00:00Z")
    assert code == 1 and [row["symbol"] for row in rows] == ["", "BTC-USDT"] and "2 gaps" in said
    assert rows[1] == {"exchange": "okx", "market_type": "spot", "symbol": "BTC-USDT", "from_ns": 10**18, "to_ns": 10**18 + 5,
                       "first_id": 7, "last_id": 9, "state": "open", "reason": "ids jump", "symbols": []}
    assert len(gaps("--from", "1970-01-01T00:00:00Z", "--all")[1]) == 3
    assert len(gaps("--from", "1970-01-01T00:00:00Z", "--exchange", "okx")[1]) == 1
    assert gaps()[:2] == (0, [])
    config.write_text(f"store: {{dir: {tmp_path / 'none'}}}", "utf-8")
    assert gaps()[0] == 69


def test_damage_whose_gaps_are_open_fails_and_damage_recorded_as_lost_is_a_note(tmp_path: Path) -> None:
    torn = replace(GAP, reason="journal damaged: 20000101T00-000.sqlite: batch 3 cannot be read")
    lost = replace(GAP, from_ns=5, reason="the ledger was lost: gaps before this are unknown", state=GapState.LOST)
    store(tmp_path, Records(gaps=[torn, lost, replace(torn, from_ns=9, state=GapState.FILLED)]))
    failure, note = [finding for finding in examine(tmp_path) if finding.name == "damage"]
    assert failure.state == FAIL and "1 gaps from damaged files are open" in failure.detail and "batch 3" in failure.detail
    assert note.state == NOTE and "recorded as lost: the ledger was lost" in note.detail
    assert all("restore" in finding.hint for finding in (failure, note))


def test_damage_is_settled_once_the_ledger_records_it_as_lost_and_open_damage_is_not(tmp_path: Path) -> None:
    store(tmp_path)
    file = min((tmp_path / "journal").glob("*.sqlite"))
    file.write_bytes(b"not a database" * 100)
    assert exit_code(list(examine(tmp_path))) == 1
    lost = replace(GAP, reason=f"journal damaged: {file.name}: the file cannot be read", state=GapState.LOST)
    record(tmp_path, lost)
    found = list(examine(tmp_path))
    assert {finding.state for finding in found if file.name in finding.detail and finding.name in ("journal", "damage")} == {NOTE}
    assert (exit_code(found), exit_code(found, settled=True)) == (0, 1)
    record(tmp_path, replace(lost, from_ns=3, state=GapState.OPEN))
    assert exit_code(list(examine(tmp_path))) == 1


def test_doctor_exits_with_0_for_settled_damage_and_with_1_where_all_is_asked_for(
        tmp_path: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, Records(gaps=[replace(GAP, reason="the ledger was lost: gaps before this are unknown", state=GapState.LOST)]))
    monkeypatch.setattr(preflight, "check", lambda config, connect: [])  # it would connect to every configured service
    there = {"PUMPWATCH_STORE__DIR": str(tmp_path)}
    usual = command("doctor", "--json", env=there)
    states = {row["name"]: row["state"] for row in map(json.loads, usual.stdout.splitlines())}
    assert (usual.returncode, states["damage"]) == (0, NOTE)
    assert command("doctor", "--all", env=there).returncode == 1


def record(folder: Path, gap: Gap) -> None:
    ledger = Ledger(folder)
    ledger.write(Records(gaps=[gap]))
    ledger.close()


def test_a_ledger_that_was_set_aside_or_is_gone_is_reported(tmp_path: Path) -> None:
    store(tmp_path)
    (tmp_path / "ledger.damaged-1.sqlite").write_bytes(b"x")
    assert "ledger.damaged-1.sqlite" in details(list(examine(tmp_path))) and states(list(examine(tmp_path)))["ledger"] == WARN
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    assert states(list(examine(tmp_path)))["ledger"] == FAIL
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_connection_that_is_lost_again_and_again_is_reported(tmp_path: Path) -> None:
    clock = FakeClock()
    events = [ConnectionEvent(clock.now_ns() - number * 10**9, exchange, "spot", 3, event, "cut")
              for exchange, event, count in (("okx", "down", 3), ("gate", "down", 2), ("bybit", "renewed", 9))
              for number in range(count)]
    old = replace(events[3], at_ns=clock.now_ns() - 4 * 3600 * 10**9)
    store(tmp_path, Records(connection_events=[*events, old]))
    found = list(examine(tmp_path, clock))
    assert "1 of its connections were lost 3 times within an hour, the last time: cut" in details(found)
    assert states(found)["okx.spot"] == WARN and not {"gate.spot", "bybit.spot"} & states(found).keys()


@pytest.mark.parametrize(("changes", "state"), [
    ({"connections_up": 0, "problem": "connection 0: refused", "down_s": 1.0}, FAIL),
    ({"connections_up": 0, "problem": "", "down_s": 1.0}, WARN), ({"connections_up": 0, "down_s": 40.0}, FAIL),
    ({"connections_up": 2, "problem": "connection 1: cut", "down_s": 3.0}, WARN),
    ({"connections_up": 2, "problem": "connection 1: cut", "down_s": 300.0}, FAIL),
    ({"connections": 0, "connections_up": 0, "list_problem": "HTTP 502"}, FAIL),
    ({"connections_up": 3, "list_problem": "HTTP 502"}, WARN), ({"connections_up": 3}, None),
])
def test_a_venue_that_cannot_be_seen_fails_with_the_reason_that_its_status_has(tmp_path: Path, changes: dict[str, object],
                                                                                state: str | None) -> None:
    store(tmp_path)
    clock = FakeClock()
    status = figures(written_at_ns=clock.now_ns())
    status["venues"] = [status["venues"][0] | changes]
    (tmp_path / health.FILE).write_bytes(msgspec.json.encode(status))
    found = [finding for finding in examine(tmp_path, clock) if finding.name == "alpha.spot"]
    assert [finding.state for finding in found] == ([state] if state else [])
    for text in (changes.get("problem"), changes.get("list_problem")):
        assert not text or str(text) in found[0].detail


@pytest.mark.parametrize(("sink", "state"), [("down", FAIL), ("the table is of another kind", FAIL), ("refilling 5 trades", OK),
                                              ("up", None), ("starting", None)])
def test_a_sink_that_takes_no_trades_is_reported(tmp_path: Path, sink: str, state: str | None) -> None:
    store(tmp_path)
    clock = FakeClock()
    status = figures(written_at_ns=clock.now_ns())
    status["sinks"][0]["state"] = sink
    (tmp_path / health.FILE).write_bytes(msgspec.json.encode(status))
    assert states(list(examine(tmp_path, clock))).get("sink questdb") == state


def test_a_notice_board_that_is_down_fails_and_one_that_was_not_polled_yet_does_not(tmp_path: Path) -> None:
    store(tmp_path)
    clock = FakeClock()
    boards = {"board": {"up": False, "reason": "HTTP 429"}, "other": {"up": False, "reason": ""}, "windows": {"open": 0}}
    (tmp_path / health.FILE).write_bytes(msgspec.json.encode(figures(written_at_ns=clock.now_ns(), listing=boards)))
    found = {name: state for name, state in states(list(examine(tmp_path, clock))).items() if name.startswith("listing")}
    assert found == {"listing board": FAIL}


def test_damaged_figures_fail(tmp_path: Path) -> None:
    store(tmp_path)
    (tmp_path / health.FILE).write_bytes(b"[]")
    assert states(list(examine(tmp_path)))["collector"] == FAIL


def test_a_damaged_or_missing_ledger_is_one_clear_error_of_every_command_and_none_sets_it_aside(
        tmp_path: Path, command: CommandLine) -> None:
    data = tmp_path / "data"
    store(data, Records(gaps=[GAP]))
    config = Config(store=StoreConfig(dir=str(data)), listing=ListingConfig(archive_dir=str(tmp_path)))
    ledger = data / "ledger.sqlite"
    whole = ledger.read_bytes()
    for content in (b"no database at all" * 500, b"", whole[:8192] + b"\0" * (len(whole) - 8192)):
        ledger.write_bytes(content)
        for made in (partial(show, config), partial(replay, config, "C1", 1_700_000_000 * 10**9)):
            with pytest.raises(DamagedError, match=r"the ledger is (damaged|missing or empty)"):
                made()
        assert states(list(examine(data)))["ledger"] == FAIL
        assert not list(data.glob("*damaged-*"))
    (tmp_path / "c.yaml").write_text(f"store: {{dir: {data}}}", "utf-8")
    done = command("gaps", "-c", str(tmp_path / "c.yaml"))
    assert done.returncode == 74 and "the ledger is damaged" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 3
    ledger.unlink()
    done = command("gaps", "-c", str(tmp_path / "c.yaml"))
    assert done.returncode == 74 and "the ledger is missing or empty" in done.stderr
    assert states(list(examine(data)))["ledger"] == FAIL and not ledger.exists()


def test_a_ledger_that_was_set_aside_is_reported(tmp_path: Path) -> None:
    store(tmp_path, Records(gaps=[GAP]))
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 500)
    store(tmp_path)
    found = list(examine(tmp_path))
    assert states(found)["ledger"] == states(found)["gaps"] == WARN
    assert "set aside" in details(found) and "the ledger was damaged: gaps before this may be unknown" in details(found)


def test_a_file_that_is_not_a_segment_fails(tmp_path: Path) -> None:
    store(tmp_path)
    (tmp_path / "journal" / "20000101T00-000.sqlite").write_bytes(b"no database" * 100)
    assert states(list(examine(tmp_path)))["journal"] == FAIL


def test_a_collector_with_missing_connections_and_late_trades_is_reported(tmp_path: Path) -> None:
    store(tmp_path)
    clock = FakeClock()
    status = figures(written_at_ns=clock.now_ns())
    status["venues"][0]["lag_ms"] = 9_000.0
    status["venues"][0]["silent"] = [f"S{number}" for number in range(7)]
    status["sinks"][0]["backlog_trades"] = 5_000_000
    status["journal"]["dropped_trades"] = 12
    (tmp_path / health.FILE).write_bytes(msgspec.json.encode(status))
    found = list(examine(tmp_path, clock))
    assert states(found)["collector"] == OK
    assert states(found)["memory"] == FAIL
    for text in ("2 of 3 connections are up", "trades arrive 9.0 s late", "5,000,000 trades behind", "12 trades were dropped",
                 "7 symbols are subscribed and silent, though they trade: S0, S1, S2, S3, S4, ..."):
        assert text in details(found)


@pytest.mark.parametrize(("days_left", "says"), [
    (2.5, "full in 2.5 days at the present rate"), (None, "it does not fill up at present")])
def test_a_running_collector_says_how_long_its_disk_lasts_and_how_many_descriptors_it_has(
        tmp_path: Path, days_left: float | None, says: str) -> None:
    store(tmp_path)
    disk = {"used_share": 0.8, "free_bytes": 5 * 10**9, "days_left": days_left}
    (tmp_path / health.FILE).write_bytes(msgspec.json.encode(figures(disk=disk)))
    found = list(examine(tmp_path, FakeClock()))
    assert f"80% used, 5.0 GB free, {says}" in details(found) and "may be open, " in details(found)
