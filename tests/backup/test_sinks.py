"""Any sink with the ability is in a backup, and is restored onto an empty server; a third party's as well as PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from pumpwatch.backup.checking import check_backup
from pumpwatch.backup.child import PROGRAM
from pumpwatch.backup.make import make
from pumpwatch.backup.manifest import Manifest
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan, SinkBackups
from pumpwatch.backup.restore import restore
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.sinks import restore_sink, sink_of
from pumpwatch.config import Config, PluginsConfig
from pumpwatch.errors import EXIT_OK, EXIT_USAGE, ServiceUnavailable, StorageError, UsageError
from pumpwatch.sink_abilities import BackedUpSink, JudgeRows, OpenPart
from tests.ops.command_line import CommandLine
from tests.postgres_server import Database, PostgresServer
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of

DAY_NS = 86_400 * 10**9
OTHERS = '''
import io, json, pathlib
from contextlib import contextmanager
import msgspec, pumpwatch

class Options(msgspec.Struct, forbid_unknown_fields=True):
    file: str

class Held:
    def __init__(self, file):
        self.parts = [pumpwatch.BackupPart("rows", file.read_text()[:1], 100), pumpwatch.BackupPart("more/rows")]
        self.file = file
    @contextmanager
    def open(self, part):
        yield io.BytesIO(self.file.read_bytes())
    def rows(self, part):
        return {part.name: len(self.file.read_text())}

class Sink:
    def __init__(self, options):
        self.file = pathlib.Path(options.file)
    def open(self): pass
    def write(self, batch, catalogue): return pumpwatch.WriteResult(len(batch))
    def trouble(self): return ""
    def read(self, names, start_ns, end_ns, catalogue): return pumpwatch.TradeBatch.empty()
    def write_listing(self, listing, event): pass
    def write_health(self, rows): pass
    def close(self): pass
    @contextmanager
    def backup(self):
        if not self.file.exists():
            raise pumpwatch.ServiceUnavailable("the file is away")
        yield Held(self.file)
    def restore(self, names, open_part, judge):
        if self.file.exists():
            raise pumpwatch.UsageError("it is there already")
        with open_part("rows") as source:
            self.file.write_bytes(source.read())
        return {name: {name: len(self.file.read_text())} for name in names}

@pumpwatch.hookimpl
def sinks():
    return [pumpwatch.SinkPlugin("others", Options, Sink)]
'''


@pytest.fixture
def others(tmp_path: Path) -> SinkBackups:
    """A sink that a stranger wrote, in the plugin folder; its store is a file."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "others.py").write_text(OTHERS)
    (tmp_path / "store").write_text("abcdef")
    return SinkBackups({"others": {"file": str(tmp_path / "store")}}, PluginsConfig(folder=str(tmp_path / "plugins")))


def newest(plan: BackupPlan) -> tuple[FolderShelf, Manifest]:
    shelf = FolderShelf(Path(plan.folder))
    return shelf, manifests_of(shelf, "")[0]


def sink_at(sinks: SinkBackups, file: Path) -> BackedUpSink:
    return sink_of(Config(sinks={"others": {"file": str(file)}}, plugins=sinks.plugins), "others")


def test_a_strangers_sink_is_backed_up_and_restored_with_its_rows(plan: BackupPlan, others: SinkBackups, tmp_path: Path) -> None:
    with_it = msgspec.structs.replace(plan, sinks=others)
    first = make(with_it)
    assert first.problems == []
    again = make(with_it)
    assert again.reused > 0 and again.problems == []
    shelf, manifest = newest(with_it)
    assert {row.name: row.rows for row in manifest.files if row.name.startswith("sinks/")} == {
        "sinks/others/rows": {"rows": 6}, "sinks/others/more/rows": {"more/rows": 6}}
    assert list(check_backup(shelf, manifest, [], shelf.sizes())) == []
    assert restore_sink(shelf, manifest, "others", sink_at(others, tmp_path / "new"), []) == {"rows": 6, "more/rows": 6}
    assert (tmp_path / "new").read_text() == "abcdef"
    with pytest.raises(UsageError, match="it is there already"):
        restore_sink(shelf, manifest, "others", sink_at(others, tmp_path / "new"), [])
    restore(shelf, manifest, tmp_path / "folder", [])
    assert not (tmp_path / "folder" / "sinks").exists(), "a sink's parts are for its server"


def test_the_command_restores_a_part_that_no_pipe_holds(plan: BackupPlan, others: SinkBackups, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("0123456789abcdef" * 100_000)
    make(msgspec.structs.replace(plan, sinks=others))
    config = tmp_path / "new.yaml"
    config.write_text(yaml.safe_dump({"sinks": {"others": {"file": str(tmp_path / "new")}},
                                      "plugins": {"folder": others.plugins.folder}, "store": {"dir": str(tmp_path / "none")}}))
    command = [sys.executable, "-m", "pumpwatch", "restore", plan.folder, "--sink", "others", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # patched by gevent, as users run it
    assert done.returncode == EXIT_OK, done.stderr
    assert (tmp_path / "new").read_bytes() == (tmp_path / "store").read_bytes()


def test_a_part_whose_key_is_the_same_is_not_read_again(plan: BackupPlan, others: SinkBackups, tmp_path: Path) -> None:
    with_it = msgspec.structs.replace(plan, sinks=others)
    make(with_it)
    (tmp_path / "store").write_text("axxxxxxx")
    make(with_it)
    rows = {row.name: row.rows for row in newest(with_it)[1].files if row.name.startswith("sinks/")}
    assert rows == {"sinks/others/rows": {"rows": 6}, "sinks/others/more/rows": {"more/rows": 8}}, "the plugin said: no change"


def test_a_sink_that_fails_costs_its_parts_and_not_the_journal(plan: BackupPlan, others: SinkBackups, tmp_path: Path) -> None:
    (tmp_path / "store").unlink()
    made = make(msgspec.structs.replace(plan, sinks=others))
    assert (made.problems, made.exit_code, made.trades) == (["sinks/others: the file is away"], 1, 10_000)
    assert not [row for row in newest(plan)[1].files if row.name.startswith("sinks/")]


def test_a_sink_without_the_ability_or_one_that_is_not_there_is_named(others: SinkBackups, plan: BackupPlan) -> None:
    with pytest.raises(UsageError, match=r"sinks\.questdb: this sink cannot be backed up this way"):
        sink_of(Config(sinks={"questdb": {}}), "questdb")
    with pytest.raises(UsageError, match="the config has no such sink"):
        sink_of(Config(), "postgres")
    make(plan)
    with pytest.raises(UsageError, match="does not hold the sink others"):
        restore_sink(*newest(plan), "others", sink_at(others, Path("/nowhere")), [])


def test_too_little_room_is_said_before_anything_is_read(plan: BackupPlan, others: SinkBackups, tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "others.py"
    plugin.write_text(OTHERS.replace("[:1], 100)", "[:1], 1 << 60)"))
    made = make(msgspec.structs.replace(plan, sinks=others))
    assert len(made.problems) == 1 and "bytes are needed there" in made.problems[0]


def test_a_damaged_object_is_found_before_the_server_gets_anything(plan: BackupPlan, others: SinkBackups, tmp_path: Path) -> None:
    with_it = msgspec.structs.replace(plan, sinks=others)
    make(with_it)
    shelf, manifest = newest(with_it)
    row = next(row for row in manifest.files if row.name == "sinks/others/more/rows")
    path = shelf.folder / row.object
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    with pytest.raises(StorageError, match="damaged"):
        restore_sink(shelf, manifest, "others", sink_at(others, tmp_path / "new"), [])
    assert not (tmp_path / "new").exists()


def test_rows_that_are_missing_after_a_restore_are_named(plan: BackupPlan, others: SinkBackups) -> None:
    class Forgetful:
        def backup(self) -> Any:
            raise ServiceUnavailable("not asked for")

        def restore(self, names: Sequence[str], open_part: OpenPart, judge: JudgeRows) -> Mapping[str, Mapping[str, int]]:
            with open_part("rows") as source:
                source.read(1)
            return {"rows": {"rows": 5}, "more/rows": {"more/rows": 6}}

    with_it = msgspec.structs.replace(plan, sinks=others)
    make(with_it)
    with pytest.raises(StorageError, match="table rows has 5 rows, and 6 were backed up"):
        restore_sink(*newest(with_it), "others", Forgetful(), [])


@pytest.fixture
def filled(postgres: Database) -> Database:
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    sink.open()
    for age in (1, 0):
        sink.write(batch_of(2_000, start_ns=time.time_ns() - age * DAY_NS, step_ns=1000), CATALOGUE)
    sink.trouble()
    sink.close()
    return postgres


def config_of(tmp_path: Path, stored: Path, dsn: str) -> str:
    file = tmp_path / "pumpwatch.yaml"
    file.write_text(yaml.safe_dump({"store": {"dir": str(stored)}, "sinks": {"postgres": {"dsn": dsn}},
                                    "backup": {"sinks": ["postgres"], "folder": str(tmp_path / "backups")}}))
    return str(file)


def test_the_commands_bring_postgresql_back_onto_an_empty_server(
        command: CommandLine, stored: Path, filled: Database, postgres_server: PostgresServer, tmp_path: Path) -> None:
    config = config_of(tmp_path, stored, filled.dsn)
    made = command("backup", "--json", "-c", config)
    assert made.returncode == EXIT_OK, made.stderr
    again = json.loads(command("backup", "--json", "-c", config).stdout)
    assert again["problems"] == [] and again["reused"] >= 1
    assert command("backup", "verify", "-c", config).returncode == EXIT_OK
    fresh = Database(postgres_server, postgres_server.create_database())
    config = config_of(tmp_path, stored, fresh.dsn)
    done = command("restore", str(tmp_path / "backups"), "--sink", "postgres", "-c", config)
    assert done.returncode == EXIT_OK, done.stderr
    for table in ("trade_history", "candles"):
        assert sorted(fresh.sql(f"SELECT * FROM pumpwatch.{table}")) == sorted(filled.sql(f"SELECT * FROM pumpwatch.{table}"))
    refused = command("restore", str(tmp_path / "backups"), "--sink", "postgres", "-c", config)
    assert refused.returncode == EXIT_USAGE and "schema pumpwatch already exists" in refused.stderr
    folder = command("restore", str(tmp_path / "backups"), "--to", str(tmp_path / "again"), "-c", config)
    assert folder.returncode == EXIT_OK and "not restored: the sink postgres" in folder.stderr
    postgres_server.sql(f"DROP DATABASE {fresh.name} WITH (FORCE)")


def test_a_killed_backup_leaves_no_pg_dump_and_the_earlier_ones(plan: BackupPlan, filled: Database) -> None:
    with_it = msgspec.structs.replace(plan, sinks=SinkBackups({"postgres": {"dsn": filled.dsn}}, PluginsConfig()))
    assert make(with_it).problems == []
    slow = msgspec.structs.replace(with_it, mb_per_s=0.1, folder=plan.folder)
    filled.sql("UPDATE pumpwatch.trade_history SET price = price + 1")
    child = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(slow))
    child.stdin.close()
    dumping = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND datname = current_database()"
    deadline = time.monotonic() + 60
    while not filled.sql(dumping):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    while filled.sql(dumping):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shelf = FolderShelf(Path(plan.folder))
    assert len(shelf.manifests()) == 1
    assert list(check_backup(shelf, newest(plan)[1], [], shelf.sizes())) == []
    assert make(with_it).problems == []
