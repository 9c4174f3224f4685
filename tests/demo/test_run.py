"""The demo: a wrong QuestDB is named before anything runs, one run is counted and looked at, Ctrl-C ends it."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import gevent
import pytest

from pumpwatch.demo.run import Demo, page_address, run, window_step
from pumpwatch.demo.view import DemoProgress, display_lines, next_lines
from tests.commands.rendered import check_lines
from tests.conftest import Cli
from tests.ops.command_line import CommandLine
from tests.questdb_server import QuestDBServer


def test_tables_that_do_not_fit_are_named_before_anything_runs(
        forked_cli: Cli, tmp_path: Path, questdb_server: QuestDBServer) -> None:
    questdb_server.sql("CREATE TABLE pumpwatch_demo_trades (timestamp TIMESTAMP_NS, exchange LONG) TIMESTAMP(timestamp) "
                       "PARTITION BY HOUR WAL")
    done = forked_cli("demo", "--questdb", questdb_server.addr, "--data", tmp_path / "demo")
    assert done.returncode == 78
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert "QuestDB table pumpwatch_demo_trades: column exchange is LONG, expected SYMBOL" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_a_server_that_does_not_answer_is_named_before_anything_runs(forked_cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = f"127.0.0.1:{probe.getsockname()[1]}"
    done = forked_cli("demo", "--questdb", closed, "--data", tmp_path / "demo")
    assert done.returncode == 69 and f"QuestDB at {closed} does not answer" in done.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(("left_s", "words"), [
    (7.4, "closes in 7 s"), (0.2, "closes in 1 s"), (0.0, "has closed"), (-3.0, "has closed")])
def test_a_window_that_has_ended_is_not_said_to_close(left_s: float, words: str) -> None:
    assert words in window_step(left_s)


def test_one_run_is_counted_in_questdb_shown_as_it_goes_and_looked_at_afterwards(
        tmp_path: Path, questdb_server: QuestDBServer, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the README, shorter; its whole roster is read back by a statement that must not grow with it."""
    if questdb_server.value("SELECT count() FROM tables() WHERE table_name = 'pumpwatch_demo_trades'"):
        questdb_server.sql("DROP TABLE pumpwatch_demo_trades")  # another test's, which does not fit
    demos: list[Demo] = []
    said: list[str] = []
    displays: list[list[str]] = []
    progress = DemoProgress(said.append)

    def show(demo: Demo) -> None:
        demos.append(demo)
        progress.show(demo)
        displays.append(display_lines(demo, 80))

    with gevent.Timeout(100):
        code, report = run(12, 300, questdb_server.addr, str(tmp_path / "demo"), show)
    assert (code, report.good, report.store) == (0, True, f"QuestDB {questdb_server.addr}")
    assert report.sent == report.stored > 1000
    venues = demos[-1].figures()["venues"]  # what the last frames are made of; the collector itself has ended
    assert venues and all(0 < venue["connections_up"] == venue["connections"] for venue in venues)
    for lines in displays:
        check_lines(lines, 80)
    assert len(displays[-1]) > 15 and max(map(len, said)) <= 80
    steps = " ".join(said)
    assert sum(line.startswith("page http://127.0.0.1:") for line in said) == 1
    assert any(line.startswith("page http://127.0.0.1:") for lines in displays for line in lines)
    for step in ("starting the simulated venues", "connecting", "SOMI will be listed", "SOMI is listed", "trades durable"):
        assert step in steps
    command = CommandLine(tmp_path, capsys, monkeypatch)
    for line in next_lines(report, "pumpwatch", "demo/pumpwatch.yaml")[2:]:
        done = command(*shlex.split(line)[1:])
        assert done.returncode == 0, (line, done.stderr)
        assert "SOMI" in done.stdout or "journal" in done.stdout


def test_an_interrupt_ends_it_with_one_line_that_names_the_data_and_130(tmp_path: Path) -> None:
    # in a terminal's foreground group, as Ctrl-C would meet it: the venues' process must not mind
    with subprocess.Popen([sys.executable, "-m", "pumpwatch", "demo", "--data", "demo"], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as child:
        log = tmp_path / "demo" / "collector.log"
        with gevent.Timeout(60):
            while not (log.exists() and "collecting" in log.read_text()):
                gevent.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)
        out, errors = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, "") and "Traceback" not in errors
    assert errors.splitlines()[-1] == f"pumpwatch: interrupted; data in {tmp_path / 'demo'}"
    assert all(" of 52 s: " in line or line.startswith("page http")  # progress, as there is no terminal
               for line in errors.splitlines()[:-1])


def test_the_page_has_its_usual_address_or_another_one_where_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        taken = f"127.0.0.1:{probe.getsockname()[1]}"
        assert page_address(taken) == "127.0.0.1:0"
    assert page_address(taken) == taken
