"""candles, ticker, orderbook, stats: a table, JSON with stable keys, CSV, a plot, and one message for a wrong question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.commands.rendered import check_lines
from tests.commands.stored import stored
from tests.market.market_parts import C0, minute
from tests.ops.command_line import CommandLine

TIME = ("--from", "2023-11-14T22:00Z", "--to", "2023-11-14T23:00Z")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return stored(tmp_path)


@pytest.mark.parametrize("width", ["80", "120"])
def test_candles_are_a_line_each(command: CommandLine, config: Path, width: str) -> None:
    done = command("candles", "C1", *TIME, "-c", config, env={"COLUMNS": width})
    lines = done.stdout.splitlines()
    check_lines(lines, int(width))
    assert (done.returncode, lines[0]) == (0, "candles of 1m, C1, times in UTC")
    assert len(lines) == 4 and "2 candles of C1" in done.stderr
    assert "not covered: 2023-11-14 22:00:00 to 2023-11-14 22:13:00: binance.spot C1USDT and 1 more\n" in done.stderr


def test_json_and_csv_have_the_same_keys(command: CommandLine, config: Path) -> None:
    words = ("candles", "C1", *TIME, "--market", "spot", "-c", config)
    row = json.loads(command(*words, "--json").stdout)
    header, line = command(*words, "--csv").stdout.splitlines()
    assert list(row) == header.split(",") == [
        "exchange", "market_type", "symbol", "interval", "timestamp", "open", "high", "low", "close", "volume", "quote_volume",
        "taker_buy_volume", "trades", "complete", "origin"]
    assert line.split(",")[4] == str(row["timestamp"]) and row["symbol"] == "C1USDT"


def test_a_plot_is_drawn_for_each_symbol(command: CommandLine, config: Path) -> None:
    done = command("candles", "C1", *TIME, "--plot", "-c", config)
    check_lines(done.stdout.splitlines(), 80)
    assert "binance.spot C1USDT, 1 candle of 1m" in done.stdout and "binance.futures C1USDT" in done.stdout


@pytest.mark.parametrize(("words", "says"), [
    (("candles", "NOPE"), "no coin 'NOPE' is known"), (("candles", "C1", "--interval", "7m"), "'7m' is not an interval"),
    (("candles", "C1", "--from", "now", "--to", "-5m"), "from is after to"), (("candles", "C1", "--json", "--csv"), "choose one"),
    (("candles", "C1", "--from", "2012-01-01"), "candles of 1m in this time, more than 1,000,000"),
    (("orderbook", "C1", "--depth", "1000000000"), "a depth of 1,000,000,000"),
    (("ticker", "C1", "--exchange", "kraken"), "not listed on"),
])
def test_a_wrong_question_is_one_message(command: CommandLine, config: Path, words: tuple[str, ...], says: str) -> None:
    done = command(*words, "-c", config)
    assert (done.returncode, done.stdout) == (2, "") and says in done.stderr


@pytest.mark.parametrize("name", ["ticker", "orderbook"])
def test_what_is_not_kept_is_told_where_no_venue_is_asked(command: CommandLine, config: Path, name: str) -> None:
    done = command(name, "C1", "--no-ask", "-c", config)
    assert (done.returncode, done.stdout) == (69, "") and done.stderr.count("venues are not asked") == 2
    rows = [json.loads(line) for line in command(name, "C1", "--no-ask", "--json", "-c", config).stdout.splitlines()]
    assert len(rows) == 2 and rows[0]["symbol"] == "C1USDT" and rows[0]["problem"]


def test_statistics_of_a_day_without_trades_say_so(command: CommandLine, config: Path) -> None:
    done = command("stats", "C1", "-c", config)
    assert (done.returncode, done.stdout) == (0, "") and done.stderr.count("not a trade of the last 24 hours is stored") == 2
    rows = [json.loads(line) for line in command("stats", "C1", "--json", "-c", config).stdout.splitlines()]
    assert [(row["market_type"], row["close"], row["trades"], row["problem"]) for row in rows] == [
        (market, None, None, "not a trade of the last 24 hours is stored") for market in ("spot", "futures")]


def test_a_store_is_shown_and_checked(command: CommandLine, config: Path) -> None:
    assert command("store", "-c", config).returncode == 69
    made = SqliteCandleStore(config.parent / FILE_NAME)
    assert "candles          none yet" in command("store", "-c", config).stdout
    made.write("1m", [C0], minute(5 * MINUTE_NS, 10.0))
    made.close()
    done = command("store", "--check", "-c", config)
    check_lines(done.stdout.splitlines(), 80)
    assert done.returncode == 0 and "fragmentation" in done.stdout and "last vacuum      never" in done.stdout
    assert "findings: 0" in done.stderr
    report = json.loads(command("store", "--json", "-c", config).stdout)
    assert report["size_bytes"] > 0 and report["migrations"] and report["intervals"][0]["interval"] == "1m"


def test_a_candle_that_cannot_be_is_a_finding(command: CommandLine, config: Path) -> None:
    made = SqliteCandleStore(config.parent / FILE_NAME)
    rows = minute(5 * MINUTE_NS, 10.0)
    rows.high[:] = 1.0
    made.write("1m", [C0], rows)
    made.close()
    done = command("store", "--check", "-c", config)
    assert done.returncode == 1 and "ohlc" in done.stdout and "C0USDT" in done.stdout and "findings: 1" in done.stderr
