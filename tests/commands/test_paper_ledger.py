"""`pumpwatch paper accounts`, `orders`, `positions`, `events` and `check`, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pumpwatch.accounts import FILE_NAME, open_account_ledger
from pumpwatch.cli import run
from pumpwatch.errors import EXIT_CONFIG, EXIT_DISK, EXIT_FOUND, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE
from tests.accounts.ledgers import ACCOUNT, FUTURES, fund, order, tampered, traded


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A config whose data folder has a ledger with a position, coins and an open order."""
    with open_account_ledger(tmp_path / FILE_NAME) as ledger:
        fund(ledger)
        traded(ledger, "o1", "buy", "10", "2", "0.0000001")
        traded(ledger, "o2", "sell", "50", "3", venue=FUTURES)
        ledger.place_order(ACCOUNT, order("o3"))
    file = tmp_path / "pumpwatch.yaml"
    file.write_text(yaml.safe_dump({"store": {"dir": str(tmp_path)}}))
    return str(file)


def test_tables_show_the_ledger(config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    for command, shown in (("accounts", ("acc", "979.9999999", "10 SOMIUSDT")), ("orders", ("o3", "filled", "one.futures")),
                           ("positions", ("short", "long")), ("events", ("order_filled", "account_opened")),
                           ("check", ("projections", "ok"))):
        assert run(["paper", command, "-c", config]) == EXIT_OK
        out = capsys.readouterr().out
        assert all(word in out for word in shown), out


def test_events_that_follow_are_named_and_a_time_is_not_broken(config: str, capsys: pytest.CaptureFixture[str],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["paper", "events", "--limit", "2", "-c", config]) == EXIT_OK
    out, told = capsys.readouterr()
    assert len(out.splitlines()) == 3 and "more events: --after 2" in told
    assert run(["paper", "events", "-c", config]) == EXIT_OK
    assert "--after" not in capsys.readouterr().err


def test_json_has_every_digit(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    def rows(*args: str) -> list[dict]:
        assert run(["paper", *args, "--json", "-c", config]) == EXIT_OK
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    account, = rows("accounts")
    assert (account["balance"], account["locked"], account["holdings"]) == ("979.9999999", "170", {"SOMIUSDT": "10"})
    assert [row["placed"]["order_id"] for row in rows("orders", "--state", "open")] == ["o3"]
    assert [row["placed"]["order_id"] for row in rows("orders", "--account", ACCOUNT, "--limit", "1")] == ["o3"]
    assert rows("orders", "--account", "nobody") == []
    assert {row["position"]["symbol"] for row in rows("positions", "--all")} == {"SOMIUSDT"}
    events = rows("events", "--of", ACCOUNT, "--limit", "2")
    assert [event["version"] for event in events] == [1, 2] and events[1]["payload"]["entries"][0] == ["account", "USDT", "1000"]
    assert rows("events", "--after", "10000") == []
    assert {row["state"] for row in rows("check")} == {"ok"}


def test_check_finds_what_was_changed(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_account_ledger(tmp_path / FILE_NAME) as ledger:
        tampered(ledger, "UPDATE balances SET balance = '1000000' WHERE asset = 'USDT'")
    assert run(["paper", "check", "-c", config]) == EXIT_FOUND
    assert "1000000 USDT is not the sum of its entries" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_shown_has_its_exit_code(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["paper", "orders", "--state", "lost", "-c", config]) == EXIT_USAGE
    with open_account_ledger(tmp_path / FILE_NAME) as ledger:
        tampered(ledger, "INSERT INTO ledger_migrations VALUES ('options')")
    assert run(["paper", "accounts", "-c", config]) == EXIT_CONFIG
    (tmp_path / FILE_NAME).write_text("no database, and longer than its header would be" * 20)
    assert run(["paper", "accounts", "-c", config]) == EXIT_DISK
    (tmp_path / FILE_NAME).unlink()
    assert run(["paper", "check", "-c", config]) == EXIT_USAGE
    monkeypatch.setenv("PUMPWATCH_PAPER__LEDGER_DSN", "postgresql://me:secret@127.0.0.1:1/paper")
    assert run(["paper", "accounts", "-c", config]) == EXIT_UNAVAILABLE
    assert "secret" not in capsys.readouterr().err
