"""The command line: help, exit codes, one clear message for every error."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shlex
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from pumpwatch import __version__
from pumpwatch.cli import pumpwatch as root
from pumpwatch.sim.control import COMMANDS
from pumpwatch.sim.faults import KINDS
from tests.conftest import Cli
from tests.ops.command_line import CommandLine


def commands(group: click.Group = root, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield (*path, name), command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """Run `pumpwatch ARGS...` in an empty folder, without a process of its own; the log is as it was afterwards."""
    root_logger = logging.getLogger()
    handlers, level = root_logger.handlers[:], root_logger.level
    yield CommandLine(tmp_path, capsys, monkeypatch)
    root_logger.handlers[:] = handlers
    root_logger.setLevel(level)


ALL = {" ".join(path): command for path, command in commands()}


def test_every_command_of_the_design_is_there() -> None:
    assert set(ALL) >= {
        "collect", "demo", "simulate", "trades", "listing replay", "listing fake", "listing show", "decode", "titles",
        "init-symbols", "status", "check", "doctor", "verify", "backup", "restore", "plugins list"}


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself_with_an_example_within_80_columns(
        name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = root.main([*name.split(), "--help"], standalone_mode=False, terminal_width=80)
    assert shown == 0
    lines = capsys.readouterr().out.splitlines()
    example = next(number for number, line in enumerate(lines) if "Example: pumpwatch" in line)
    assert max(map(len, lines)) <= 80
    assert all(not line or "pumpwatch " in line for line in lines[example:lines.index("Options:")])  # none is broken in two
    assert f"Example: pumpwatch {name}" in (ALL[name].help or "")
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name}"


def test_the_help_names_every_command_and_completion_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    root.main(["--help"], standalone_mode=False, terminal_width=80)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and not any(line.endswith("...") for line in lines[1:])
    assert any("_PUMPWATCH_COMPLETE=bash_source pumpwatch" in line for line in lines)


def test_a_shell_completes_commands_and_options() -> None:
    env = os.environ | {"COMP_WORDS": "pumpwatch gaps --li", "COMP_CWORD": "2", "_PUMPWATCH_COMPLETE": "bash_complete"}
    done = subprocess.run([Path(sys.executable).with_name("pumpwatch")], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "plain,--limit\n"


def test_json_is_called_the_same_everywhere() -> None:
    for name, command in ALL.items():
        for parameter in command.params:
            assert ("--json" in parameter.opts) == (parameter.name == "as_json"), name


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = {"numpy", "pandas", "questdb", "msgspec", "yaml", "rich", "requests", "websocket", "sqlite_utils"}
    code = ("import sys, pumpwatch; bare = set(sys.modules); from pumpwatch.cli import run; run(['--help']);"
            "print(sorted(set(sys.modules)), file=sys.stderr); assert 'gevent' not in bare")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(eval(done.stderr)) == set()


def test_the_version_is_the_packages(cli: Cli) -> None:
    done = cli("--version")
    assert (done.returncode, done.stdout) == (0, f"pumpwatch, version {__version__}\n")


def test_the_process_is_patched_before_anything_else_is_imported() -> None:
    code = ("import pumpwatch.__main__, gevent.monkey as m, sys;"
            "assert m.is_module_patched('ssl') and m.is_module_patched('threading');"
            "assert 'requests' not in sys.modules")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("args", "code", "says"), [
    (["collekt"], 2, "No such command 'collekt'"),
    (["status", "--nonsense"], 2, "No such option"),
    (["status"], 69, "pumpwatch: no collector runs on /"),
    (["listing", "fake", "PEPE"], 69, "pumpwatch: no collector runs on /"),
    (["status", "-c", "nope.yaml"], 78, "nope.yaml: cannot read the config file"),
    (["titles", "nope.txt"], 2, "nope.txt: cannot read titles"),
])
def test_an_error_is_one_message_and_its_exit_code(command: CommandLine, args: list[str], code: int, says: str) -> None:
    done = command(*args)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("options", [b"- 1\n- 2", b"\xff\xfe\x00PK", b"rate: {{ rate }}", b"venues: &a\n- *a", b"1: 2",
                                     b"symbols: {a: 1}"], ids=repr)
def test_wrong_options_of_a_simulation_are_one_message_and_78(command: CommandLine, tmp_path: Path, options: bytes) -> None:
    (tmp_path / "sim.yaml").write_bytes(options)
    done = command("simulate", "-c", "sim.yaml")
    assert done.returncode == 78, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("pumpwatch: ")


def test_a_config_that_is_not_written_yet_is_refused_and_one_of_comments_is_not(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "sim.yaml").write_text("\n")
    done = command("collect", "-c", "sim.yaml")  # else it would be the real exchanges
    assert (done.returncode, done.stderr.splitlines()[0]) == (78, "pumpwatch: sim.yaml is empty")
    (tmp_path / "sim.yaml").write_text("# store:\n#   dir: elsewhere\n")
    assert command("status", "-c", "sim.yaml").returncode == 69


def test_the_help_of_simulate_names_every_command_and_kind_of_fault() -> None:
    words = " ".join((ALL["simulate"].help or "").split())
    assert f"Commands: {' '.join(COMMANDS)} " in words
    assert f"Kinds of fault: {' '.join(KINDS)} " in words


def test_a_simulation_of_some_seconds_ends_by_itself(cli: Cli) -> None:
    done = cli("simulate", "--coins", "1", "--seconds", "0.5", timeout_s=60)
    assert done.returncode == 0, done.stderr


def test_two_ways_to_say_how_many_coins_are_refused(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "sim.yaml").write_text("symbols: 3")
    for words in (("--coins", "3", "--symbols", "90"), ("-c", "sim.yaml", "--symbols", "90")):
        done = command("simulate", *words)
        assert done.returncode == 2 and "choose one" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_simulate_tells_how_to_cause_a_fault_and_leaves_no_folder(number: signal.Signals) -> None:
    with contextlib.ExitStack() as stack:
        tmp_path = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))  # a long name would be cut in the line
        child = stack.enter_context(subprocess.Popen(
            [sys.executable, "-m", "pumpwatch", "simulate", "--coins", "1"], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE, cwd=tmp_path, env=os.environ | {"TMPDIR": str(tmp_path)}))
        stack.callback(child.kill)
        assert child.stderr is not None
        lines = [child.stderr.readline(), child.stderr.readline()]
        words = shlex.split(lines[1].partition("a fault: curl ")[2])
        assert [words[0], words[2]] == ["--cacert", "-d"] and Path(words[1]).parent.parent == tmp_path
        request = urllib.request.Request(words[4], words[3].encode())
        with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=words[1])) as answer:
            assert json.loads(answer.read()) == {"fault": "cut", "connections": []}
        child.send_signal(number)
        assert "Traceback" not in child.communicate(timeout=60)[1]
        assert child.returncode == 0
        assert list(tmp_path.iterdir()) == []


def test_a_wrong_config_key_ends_with_78_and_the_nearest_key(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("store: {dri: x}")
    done = command("check", "-c", "c.yaml")
    assert done.returncode == 78
    assert "unknown key `store.dri`" in done.stderr
    assert "did you mean `dir`?" in done.stderr


@pytest.mark.parametrize(("text", "says"), [
    ("exchanges: {binanse: }", "exchanges.binanse: no plugin offers it"),
    ("sinks: {clickhouse: }", "sinks.clickhouse: no plugin offers it"),
    ("sinks: {questdb: {adr: x}}", "unknown key `sinks.questdb.adr`"),
    ("sinks: {questdb: {addr: nowhere}}", "addr must be HOST:PORT"),
    ("net: {ca_file: nowhere.pem}", "nowhere.pem"),
    ("exchanges: {okx: {spot: {variant: x}}}", "no plugin offers the venue `okx.spot:x`"),
    ("exchanges: {okx: {enabled: false}}", "no venue is enabled"),
    ("plugins: {disabled: [binanse]}", "no plugin is called `binanse`"),
    ("plugins: {folder: nowhere}", "nowhere is not a folder"),
])
def test_check_and_collect_refuse_a_config_that_cannot_be_meant_with_one_message(
        command: CommandLine, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    for name in ("check", "collect"):
        done = command(name, "-c", "c.yaml")
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr.count("pumpwatch: ") == 1 and says in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_check_names_what_will_be_collected(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("exchanges: {binance: , okx: {futures: {enabled: false}}}")
    done = command("check", "--json", "-c", "c.yaml", env={"PUMPWATCH_EXCHANGES__GATE__SPOT__ENABLED": "true"})
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["venues"]["detail"] == "binance.spot, binance.futures, okx.spot"


def test_a_key_may_come_from_the_environment(command: CommandLine, tmp_path: Path) -> None:
    done = command("check", "--json", env={"PUMPWATCH_STORE__DIR": str(tmp_path / "elsewhere")})
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("elsewhere" in row["detail"] for row in rows)
    assert all(list(row) == ["name", "state", "detail", "hint", "ms"] for row in rows)


def test_check_names_what_fails_and_ends_with_1(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    done = command("check")
    assert done.returncode == 1
    assert "data folder" in done.stdout


def test_plugins_list_names_each_with_its_state(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "bad.py").write_text("import nowhere_to_be_found")
    (tmp_path / "c.yaml").write_text("plugins: {folder: more, disabled: [questdb]}")
    done = command("plugins", "list", "--json", "-c", "c.yaml")
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert rows["binance"]["status"] == "ok"
    assert "venue binance.spot" in rows["binance"]["offers"]
    assert rows["questdb"]["status"] == "disabled"
    assert rows["bad"]["status"] == "refused"
    assert "nowhere_to_be_found" in rows["bad"]["reason"]
    assert "nowhere_to_be_found" in command("plugins", "list", "-c", "c.yaml").stdout


def test_plugins_list_is_fine_when_all_are() -> None:
    assert root.main(["plugins", "list", "--json"], standalone_mode=False) == 0


def test_titles_go_in_raw_or_as_json_and_verdicts_come_out(
        command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "[거래] 센트(SENT) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)"
    give(monkeypatch, f"{title}\n\n{json.dumps({'title': title})}\n")
    done = command("titles", "--source", "upbit")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert len(rows) == 2
    assert rows[0] == rows[1]
    assert {"kind": "krw_listing", "symbols": ["SENT"], "needs_body": False}.items() <= rows[0].items()


def test_an_unknown_source_is_answered_with_the_known_ones(command: CommandLine) -> None:
    done = command("titles", "--source", "upbti")
    assert done.returncode == 2
    assert "did you mean `upbit`?" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    many = tmp_path / "titles.txt"
    many.write_text("a title\n" * 50_000)
    line = f"{sys.executable} -m pumpwatch titles {many} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "0"


@pytest.fixture
def interrupts_heeded() -> Iterator[None]:
    """Heed SIGINT: what a shell starts in the background ignores it, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts_heeded")
def test_an_interrupt_ends_with_130_and_no_traceback(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "pumpwatch", "titles"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, cwd=tmp_path, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("a title\n" * 300)
        child.stdin.flush()
        child.stdout.read(1)  # it is at work
        child.send_signal(signal.SIGINT)
        errors = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    assert "Traceback" not in errors


GATE_TRADE = ('{"time":1700000000,"time_ms":1700000000123,"channel":"futures.trades","event":"update","result":[{"size":3,"id":7,'
              '"create_time":1700000000,"create_time_ms":1700000000123,"price":"61800.5","contract":"BTC_USDT"}]}\n')


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let the next command read this from stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_decode_names_contracts_that_it_cannot_count_in_base_units(
        command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, GATE_TRADE)
    done = command("decode", "gate.futures")
    assert done.returncode == 0 and json.loads(done.stdout)["quantity"] == 3
    assert done.stderr.splitlines() == ["contract size taken as 1, without --instruments: BTC_USDT",
                                        "trades: 1, control frames: 0, refused: 0"]
    (tmp_path / "list").write_text("[]")
    give(monkeypatch, GATE_TRADE)
    done = command("decode", "gate.futures", "--instruments", "list")
    assert "contract size taken as 1, not found in --instruments: BTC_USDT" in done.stderr


@pytest.mark.parametrize(("words", "stdin", "code", "says"), [
    (("bybit.spot",), "", 0, "trades: 0, control frames: 0, refused: 0"),
    (("bybit.spot",), "\x00\x01\n\x02", 1, "line 2: refused: JSON is malformed"),
    (("kucoin.spot:tokenles",), "", 2, "did you mean `kucoin.spot:tokenless`?"),
    (("bybit.spot", "nowhere"), "", 2, "nowhere: cannot be read: No such file or directory"),
    (("bybit.spot", "--instruments", "nowhere"), "", 2, "nowhere: cannot be read"),
    (("bybit.spot", "--instruments", "c.yaml"), "", 2, "--instruments: not a symbol list of bybit.spot: "),
])
def test_decode_says_what_it_cannot_use(command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        words: Sequence[str], stdin: str, code: int, says: str) -> None:
    (tmp_path / "c.yaml").write_text("store: {}")
    give(monkeypatch, stdin)
    done = command("decode", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr and "Traceback" not in done.stderr
