"""A new plugin's package: written whole or not at all, and working before anyone has changed it."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

from pumpwatch.config import Config
from pumpwatch.errors import UsageError
from pumpwatch.plugin_kit.scaffold import FILES, new_plugin
from tests import plugin_wheel
from tests.conftest import Cli
from tests.zipapp import Zipapp


def beside(folder: Path) -> Path:
    """Make a virtual environment that sees all of this one, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    outer = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (inner,) = folder.glob("lib/python3.*/site-packages")
    (inner / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    return folder / "bin" / "python"


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
                          env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")})


@pytest.mark.parametrize("markets", [(), ("--futures",)], ids=["spot", "both"])
def test_a_new_package_installs_passes_its_tests_and_keeps_the_contract(cli: Cli, tmp_path: Path, markets: list[str]) -> None:
    made = cli("plugins", "new", "example", "--dir", tmp_path / "src", *markets)
    assert made.returncode == 0, made.stderr
    package = tmp_path / "src" / "pumpwatch-example"
    assert f"next: {sys.executable} -m pip install -e '{package}[test]'" in made.stderr
    assert {Path(line) for line in made.stdout.splitlines()} == {path for path in package.rglob("*") if path.is_file()}
    python = beside(tmp_path / "venv")
    plugin_wheel.pip("--python", python, "install", "--no-build-isolation", "--editable", package)
    tested = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    check = ("-m", "pumpwatch", "plugins", "check", "example", "--frames", "tests/frames.jsonl", "--json")
    checked = run(python, *check, cwd=package)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {row["of"] for row in map(json.loads, checked.stdout.splitlines())} == {
        "example", "example.spot", *(["example.futures"] if markets else [])}
    states = {row["check"]: row["state"] for row in map(json.loads, checked.stdout.splitlines())}
    assert states.pop("round trip") == "warn"  # nobody plays it
    assert "fail" not in states.values() and states["no frame vanishes"] == "ok"


def test_its_file_alone_is_a_plugin_in_the_plugin_folder(cli: Cli, tmp_path: Path) -> None:
    new_plugin("example", tmp_path, Config())
    file = tmp_path / "pumpwatch-example" / "pumpwatch_example.py"
    frames = tmp_path / "pumpwatch-example" / "tests" / "frames.jsonl"
    (tmp_path / "folder").mkdir()
    file.rename(tmp_path / "folder" / "example.py")
    there = {"PUMPWATCH_PLUGINS__FOLDER": str(tmp_path / "folder")}
    done = cli("decode", "example.spot", frames, env=there)
    assert [json.loads(line)["trade_id"] for line in done.stdout.splitlines()] == ["7001"]
    assert cli("plugins", "check", "example", "--frames", frames, env=there).returncode == 0


def test_what_a_zipapp_prints_works_there(zipapp: Zipapp, tmp_path: Path) -> None:
    made = zipapp.run("plugins", "new", "example", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    package = tmp_path / "pumpwatch-example"
    assert str(package / "pumpwatch_example.py") in made.stdout.splitlines()
    command = made.stderr.splitlines()[0].removeprefix("next: ")
    assert "pip" not in command and str(zipapp.file) in command
    checked = run("sh", "-c", f"SHIV_ROOT={zipapp.unpacked} {command}", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "example.spot" in checked.stdout


NO_NAMES = ["", "Example", "1inch", "a-b", "a b", "../up", "a/b", "é", "class", "a__b", "_a", "a_", "x" * 31]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        new_plugin(name, tmp_path, Config())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["binance", "questdb"])
def test_a_name_that_is_taken_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is taken"):
        new_plugin(name, tmp_path, Config())


def test_what_is_there_already_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    new_plugin("example", tmp_path, Config())
    file = tmp_path / "pumpwatch-example" / "README.md"
    file.write_text("mine")
    done = cli("plugins", "new", "example", "--dir", tmp_path)
    assert done.returncode == 2 and "is there already" in done.stderr
    assert file.read_text() == "mine"


def test_a_package_that_cannot_be_written_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("plugins", "new", "example", "--dir", tmp_path / "file")
    assert done.returncode == 74
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_template_is_written() -> None:
    folder = Path(__file__).resolve().parents[2] / "pumpwatch" / "kit" / "template"
    assert {path.name for path in folder.iterdir()} == set(FILES)
