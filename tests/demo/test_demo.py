"""The demo: what is wrong with its QuestDB is said at once and nothing is left behind; what it shows; how it is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import gevent

from pumpwatch.demo.run import Demo, run
from tests.conftest import Cli
from tests.questdb_server import QuestDBServer


def test_tables_that_do_not_fit_are_told_before_anything_runs(cli: Cli, tmp_path: Path, questdb_server: QuestDBServer) -> None:
    questdb_server.sql("CREATE TABLE pumpwatch_demo_trades (timestamp TIMESTAMP_NS, exchange LONG) TIMESTAMP(timestamp) "
                       "PARTITION BY HOUR WAL")
    done = cli("demo", "--questdb", questdb_server.addr, "--data", tmp_path / "demo")
    assert done.returncode == 78
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert "QuestDB table pumpwatch_demo_trades: column exchange is LONG, expected SYMBOL" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_the_demo_counts_what_questdb_has_of_every_venue(cli: Cli, tmp_path: Path, questdb_server: QuestDBServer) -> None:
    """The line of the README, shorter; its whole roster is read back by a statement that must not grow with it."""
    if questdb_server.value("SELECT count() FROM tables() WHERE table_name = 'pumpwatch_demo_trades'"):
        questdb_server.sql("DROP TABLE pumpwatch_demo_trades")  # another test's, which does not fit
    done = cli("demo", "--json", "--seconds", "8", "--rate", "300", "--questdb", questdb_server.addr, "--data", tmp_path / "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["store"] == f"QuestDB {questdb_server.addr}"
    assert report["sent"] == report["stored"] > 1000


def test_a_server_that_is_not_there_is_told_before_anything_runs(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = f"127.0.0.1:{probe.getsockname()[1]}"
    done = cli("demo", "--questdb", closed, "--data", tmp_path / "demo")
    assert done.returncode == 69 and f"QuestDB at {closed} does not answer" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_what_is_shown_while_it_ends_are_the_connections_that_were_up(tmp_path: Path) -> None:
    demos: list[Demo] = []
    with gevent.Timeout(100):
        code, report = run(8, 300, "", str(tmp_path / "demo"), demos.append)
    assert (code, report.good) == (0, True)
    rows = demos[-1].figures()["venues"]  # what the last frames are made of; the collector itself has ended
    assert rows and all(0 < row["connections_up"] == row["connections"] for row in rows)



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
    assert (child.returncode, out, errors) == (
        130, "", f"pumpwatch: interrupted; data in {tmp_path / 'demo'}\n")
