"""A new plugin's package: written completely or not at all, and working before anyone has changed it."""

from __future__ import annotations

import importlib.resources
import json
import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

from pumpwatch.config import Config, PluginsConfig
from pumpwatch.errors import UsageError
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.plugin_kit.check_recorded import RecordedFrames
from pumpwatch.plugin_kit.contract import check_plugin
from pumpwatch.plugin_kit.scaffold import FILES, new_plugin
from pumpwatch.plugins import load_plugins
from tests import plugin_wheel
from tests.conftest import Cli
from tests.zipapp import Zipapp


def environment(folder: Path) -> Path:
    """Make a virtual environment that also has every package of this one, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    outer = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (inner,) = folder.glob("lib/python3.*/site-packages")
    (inner / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    return folder / "bin" / "python"


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
                          env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")})


def test_a_new_package_with_both_markets_installs_passes_its_tests_and_keeps_the_contract(cli: Cli, tmp_path: Path) -> None:
    made = cli("plugins", "new", "example", "--dir", tmp_path / "src", "--futures")
    assert made.returncode == 0, made.stderr
    package = tmp_path / "src" / "pumpwatch-example"
    assert f"next: {sys.executable} -m pip install -e '{package}[test]'" in made.stderr
    assert {Path(line) for line in made.stdout.splitlines()} == {path for path in package.rglob("*") if path.is_file()}
    python = environment(tmp_path / "venv")
    plugin_wheel.pip("--python", python, "install", "--no-build-isolation", "--editable", package)
    tested = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    check = ("-m", "pumpwatch", "plugins", "check", "example", "--frames", "tests/frames.jsonl", "--json")
    checked = run(python, *check, cwd=package)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rows = list(map(json.loads, checked.stdout.splitlines()))
    assert {row["of"] for row in rows} == {"example", "example.spot", "example.futures"}
    states = {row["check"]: row["state"] for row in rows}
    assert states.pop("round trip") == "warn"  # no simulator plugin plays it
    assert "fail" not in states.values() and states["no frame vanishes"] == "ok"


def test_the_file_of_a_spot_market_alone_is_a_plugin_in_the_plugin_folder(tmp_path: Path) -> None:
    new_plugin("example", tmp_path, Config())
    home = tmp_path / "pumpwatch-example"
    frames = (home / "tests" / "frames.jsonl").read_bytes().splitlines()
    (tmp_path / "folder").mkdir()
    (home / "pumpwatch_example.py").rename(tmp_path / "folder" / "example.py")
    config = Config(plugins=PluginsConfig(folder=str(tmp_path / "folder")))
    (venue,) = [venue for venue in load_plugins(config).venues if venue.exchange == "example"]
    expected = [json.loads(line) for line in (home / "tests" / "expected.jsonl").read_text().splitlines()]
    assert (venue.name, list(Decoder(venue).lines(frames))) == ("example.spot", expected)
    rows = list(check_plugin("example", config, RecordedFrames(frames=frames)))
    assert {row.of for row in rows} == {"example", "example.spot"}
    assert [row for row in rows if row.state == "fail"] == []


def test_the_output_of_a_zipapp_works(zipapp: Zipapp, tmp_path: Path) -> None:
    made = zipapp.run("plugins", "new", "example", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    package = tmp_path / "pumpwatch-example"
    assert str(package / "pumpwatch_example.py") in made.stdout.splitlines()
    command = made.stderr.splitlines()[0].removeprefix("next: ")
    assert "pip" not in command and str(zipapp.file) in command
    checked = run("sh", "-c", f"SHIV_ROOT={zipapp.unpacked} {command}", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "example.spot" in checked.stdout


INVALID = ["", "Example", "1inch", "a-b", "a b", "../up", "a/b", "é", "class", "a__b", "_a", "a_", "x" * 31]


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_name_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        new_plugin(name, tmp_path, Config())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["binance", "questdb"])
def test_a_name_that_is_taken_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is taken"):
        new_plugin(name, tmp_path, Config())


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    new_plugin("example", tmp_path, Config())
    file = tmp_path / "pumpwatch-example" / "README.md"
    file.write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        new_plugin("example", tmp_path, Config())
    assert file.read_text() == "mine"


def test_a_package_that_cannot_be_written_leaves_nothing(forked_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = forked_cli("plugins", "new", "example", "--dir", tmp_path / "file")
    assert done.returncode == 74
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_template_is_written() -> None:
    folder = importlib.resources.files("pumpwatch.plugin_kit") / "template"
    assert {path.name for path in folder.iterdir()} == set(FILES)
