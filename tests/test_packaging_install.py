"""packaging/install shows what it would do, needs root for the rest, and installs the zipapp that packaging/build makes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.host.tree import files_below, needs_systemd, system
from tests.zipapp import Zipapp

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "packaging" / "install"


def run(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=300, check=False,
                          stdin=subprocess.DEVNULL, env=os.environ | environ)


def test_its_help_names_the_options() -> None:
    done = run("--help")
    assert done.returncode == 0 and "--dry-run" in done.stdout and "--no-build" in done.stdout


@needs_systemd
def test_a_dry_run_begins_with_the_build_and_changes_nothing(tmp_path: Path) -> None:
    root = system(tmp_path)
    before = files_below(root)
    done = run("--dry-run", "--root", root)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(ROOT / "packaging" / "build") and lines[1].startswith("useradd ")
    assert f"install -o root -g root -m 755 {ROOT}/dist/pumpwatch.pyz /opt/pumpwatch/pumpwatch.pyz" in lines
    assert files_below(root) == before


def test_without_roots_rights_there_is_one_message(tmp_path: Path) -> None:
    fake = tmp_path / "id"
    fake.write_text("#!/bin/sh\necho 1000\n")
    fake.chmod(0o755)
    done = run("--no-build", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("packaging/install must run as root\n")


@needs_systemd
def test_the_zipapp_is_installed_with_the_unit_and_sample_that_it_holds(tmp_path: Path, zipapp: Zipapp) -> None:
    root = system(tmp_path)
    done = run("--no-build", "--root", root, SHIV_ROOT=str(zipapp.unpacked))
    if "home folder" in done.stderr:
        pytest.skip("the Python that built the zipapp is in a home folder")
    assert done.returncode == 0, done.stderr
    assert (root / "opt/pumpwatch/pumpwatch.pyz").read_bytes() == zipapp.file.read_bytes()
    assert (root / "etc/pumpwatch/pumpwatch.yaml.sample").read_bytes() == (ROOT / "config/pumpwatch.yaml").read_bytes()
    unit = ROOT / "pumpwatch/host/files/pumpwatch.service"
    assert (root / "etc/systemd/system/pumpwatch.service").read_bytes() == unit.read_bytes()
    assert "python3" in (root / "usr/local/bin/pumpwatch").read_text()
