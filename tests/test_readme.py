"""The README's statements are run: every command line, the config, the tables; and the examples of the first pages of docs/."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import requests

from pumpwatch.cli import pumpwatch as root
from pumpwatch.config import Config, PluginsConfig, load
from pumpwatch.ops import health
from pumpwatch.plugins import load_plugins
from tests.collecting import Collecting, collecting
from tests.conftest import Cli
from tests.zipapp import Zipapp

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SHORT = ("--seconds", "8", "--rate", "300")
PAGE_FILES = ("", *(path.name for path in (ROOT / "pumpwatch" / "api" / "page").iterdir()), "chart.js", "lightweight-charts.js")


GUIDE = (ROOT / "docs" / "plugins.md").read_text("utf-8")
FIRST_MINUTE = (ROOT / "docs" / "index.md").read_text("utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.strip().splitlines()]
ASKED = [line for line in COMMANDS if line.startswith("curl ")]
PAPER = [line for line in COMMANDS if line.startswith("pumpwatch paper ")]
OF_A_COLLECTOR = [line for line in COMMANDS if line.startswith("pumpwatch ") and line not in PAPER]


def run(folder: Path, *words: str | Path, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=timeout_s, check=False)


def demo_with_page(folder: Path, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a demo, and fetch the files of its page while it runs."""
    with subprocess.Popen(list(map(str, words)), cwd=folder, env=os.environ | environ, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        said = ""
        while not (found := re.search(r"^page (http://\S+/)\n", said, re.MULTILINE)):
            line = child.stderr.readline()
            assert line, said
            said += line
        for name in PAGE_FILES:
            answer = requests.get(found[1] + name, timeout=30)
            assert answer.status_code == 200 and answer.content, name
        out, rest = child.communicate(timeout=400)
    return subprocess.CompletedProcess(words, child.returncode, out, said + rest)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collecting]:
    with collecting(tmp_path_factory.mktemp("readme")) as collector:
        yield collector


def test_every_command_line_of_the_readme_is_run_here() -> None:
    others = set(COMMANDS) - set(OF_A_COLLECTOR) - set(ASKED) - set(PAPER)
    assert others == {"packaging/run demo", "packaging/run collect", "packaging/build", "packaging/test"}


def test_packaging_run_demo_counts_both_sides_and_leaves_an_archive(tmp_path: Path) -> None:
    done = demo_with_page(tmp_path, ROOT / "packaging" / "run", "demo", *SHORT)
    assert done.returncode == 0, done.stderr
    stated = next(block for block in blocks("text") if "sent by" in block)
    for line in stated.splitlines():
        if line and line != "...":
            words = re.split(r"\s{2,}", line)[0]
            assert words in done.stdout, done.stdout
    assert re.search(r"missing +0\b", done.stdout)
    archive = re.search(r"^archive +(\S+)", done.stdout, re.MULTILINE)
    assert archive is not None
    assert (tmp_path / archive.group(1) / "refined" / "pump_analysis.json").is_file()
    environ = os.environ | {"PUMPWATCH_STORE__DIR": str(tmp_path / "data")}
    for line in PAPER:
        words = [archive.group(1) if word.startswith("data/") else word for word in line.split()[1:]]
        traded = subprocess.run([ROOT / "packaging" / "run", *words], cwd=tmp_path, env=environ, capture_output=True, text=True,
                                timeout=120, check=False)
        assert traded.returncode == 0 and "100 ms" in traded.stdout, traded.stderr + traded.stdout
    assert list((tmp_path / "data" / "paper").glob("*/run.html"))


def test_packaging_build_makes_a_file_that_runs_the_demo_from_an_empty_folder(zipapp: Zipapp, tmp_path: Path) -> None:
    assert zipapp.file == ROOT / "dist" / "pumpwatch.pyz"
    assert zipapp.printed == f"dist/pumpwatch.pyz {zipapp.file.stat().st_size} bytes\n"
    shown = demo_with_page(tmp_path, zipapp.file, "demo", *SHORT, "--json", SHIV_ROOT=str(zipapp.unpacked))
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["missing"] == 0
    held = zipapp.run("-c", "import psycopg, redis", folder=tmp_path, SHIV_INTERPRETER="1")  # nothing can be installed into it
    assert held.returncode == 0, held.stderr


def test_packaging_run_collect_logs_health_and_ends_with_0_on_sigterm(running: Collecting, tmp_path: Path) -> None:
    environ = os.environ | {"PUMPWATCH_STORE__DIR": str(tmp_path / "data"), "PUMPWATCH_LOG__SUMMARY_S": "1"}
    with subprocess.Popen([ROOT / "packaging" / "run", "collect", "-c", running.config_file], cwd=tmp_path, env=environ,
                          stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        seen = ""
        for line in child.stderr:
            seen += line
            if re.search(r" health .*: spot [1-9]\d*/\d+ \+ futures [1-9]\d*/\d+ up, ", line):
                break
        child.terminate()
        seen += child.stderr.read()
        assert child.wait(60) == 0, seen
    for name in ("journal", "ledger.sqlite", "status.json"):
        assert (tmp_path / "data" / name).exists()
        assert f"`{name}" in README


@pytest.mark.parametrize("line", OF_A_COLLECTOR)
def test_a_command_line_of_the_readme_works_beside_a_collector(running: Collecting, forked_cli: Cli, line: str) -> None:
    done = forked_cli(*line.split()[1:], "-c", running.config_file)
    assert done.returncode == 0, done.stderr + done.stdout
    if "--json" in line:
        assert all(isinstance(json.loads(row), dict) for row in done.stdout.splitlines())
        assert done.stdout.strip()


@pytest.mark.parametrize("line", ASKED)
def test_an_address_of_the_readme_is_answered_by_a_collector(running: Collecting, line: str) -> None:
    page = json.loads((running.folder / "status.json").read_text())["page"]
    address = shlex.split(line)[-1].replace("http://127.0.0.1:8321/", page)
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.status == 200 and answer.read()


@pytest.mark.parametrize("script", [".ci/run", *(f"packaging/{name}" for name in ("run", "test", "build", "docs", "questdb"))])
def test_a_script_is_executable_and_parses(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert run(ROOT, "sh", "-n", script).returncode == 0


def test_packaging_names_what_is_missing_and_ends_with_69(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname", "cat", "cksum", "pwd", "env"):
        (tmp_path / "bin" / tool).symlink_to(next(path for path in (Path("/bin") / tool, Path("/usr/bin") / tool)
                                                  if path.exists()))
    done = subprocess.run([ROOT / "packaging" / "run", "demo"], capture_output=True, text=True, check=False,
                          env={"PATH": str(tmp_path / "bin"), "PUMPWATCH_VENV": str(tmp_path / "venv")})
    assert done.returncode == 69
    assert "missing: Python 3.11, 3.12 or 3.13" in done.stderr


def test_the_configs_that_are_shown_are_valid(tmp_path: Path) -> None:
    for block in blocks("yaml") + blocks("yaml", FIRST_MINUTE):
        (tmp_path / "c.yaml").write_text(block)
        config = load(tmp_path / "c.yaml", {})
        assert load_plugins(config).unmet(config) == []


def test_the_notice_board_in_the_plugin_guide_works(tmp_path: Path) -> None:
    (tmp_path / "from_the_guide.py").write_text("\n".join(blocks("python", GUIDE)))
    plugins = load_plugins(Config(plugins=PluginsConfig(folder=str(tmp_path))))
    assert plugins.problems == []
    example = plugins.source("example")
    notices = example.parse(b'[{"id": 7, "title": "ABC gets a KRW market", "at": 1700000000}]')
    assert example.verdict(notices[0].title).symbols == ("ABC",)


def test_the_table_of_commands_is_the_commands() -> None:
    cells = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`([a-z-]+)", cell)}
    assert set(root.commands) - named == set()


def test_options_and_keys_that_are_named_exist() -> None:
    options = {opt for command in walk(root) for parameter in command.params for opt in parameter.opts} | {"--help"}
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= options
    config = load(None, {})
    for section, key in re.findall(r"`(store|net|plugins)\.([a-z_]+)`", README):
        assert hasattr(getattr(config, section), key)


def walk(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from walk(inner)


def test_the_status_file_is_called_as_stated() -> None:
    assert f"`{health.FILE}`" in README
