"""`install` and `uninstall`: steps shown, a system in a folder changed and changed back, and one message where that cannot be."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pumpwatch.cli import pumpwatch
from tests.host.tree import files_below, needs_systemd, system

needs_systemctl = pytest.mark.skipif(shutil.which("systemctl") is None, reason="systemctl is not here")


@pytest.fixture
def zipapp_file(tmp_path: Path) -> Path:
    file = tmp_path / "pumpwatch.pyz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__main__.py", "")
    return file


def run(*words: str | Path, answer: str = "") -> Result:
    return CliRunner().invoke(pumpwatch, list(map(str, words)), input=answer)


def said(done: Result) -> str:
    return getattr(done.exception, "message", "")


@needs_systemctl
def test_a_dry_run_shows_every_step_and_changes_nothing(tmp_path: Path, zipapp_file: Path) -> None:
    root = system(tmp_path)
    before = files_below(root)
    done = run("install", "--dry-run", "--root", root, "--program", zipapp_file, "--python", "/usr/bin/python3")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"useradd --prefix {root} --system")
    assert f"install -o root -g root -m 755 {zipapp_file} /opt/pumpwatch/pumpwatch.pyz" in lines
    assert "write /etc/pumpwatch/pumpwatch.yaml (owner root, group pumpwatch, mode 0640)" in lines
    assert lines[-1] == f"systemctl --root={root} enable pumpwatch.service"
    assert run("uninstall", "--dry-run", "--purge", "--root", root).exit_code == 0
    assert files_below(root) == before


@needs_systemd
def test_install_twice_then_uninstall_keeps_the_data_and_says_where(tmp_path: Path, zipapp_file: Path) -> None:
    root = system(tmp_path)
    words = ("install", "--root", root, "--program", zipapp_file, "--python", "/usr/bin/python3", "--user", "trades")
    done = run(*words)
    assert done.exit_code == 0 and f"installed in {root}" in done.stderr, done.output
    assert "sudo -u trades pumpwatch status -c /etc/pumpwatch/pumpwatch.yaml" in done.stderr
    assert (root / "opt/pumpwatch/pumpwatch.pyz").read_bytes() == zipapp_file.read_bytes()
    again = run(*words)
    assert again.exit_code == 0 and "nothing to do" in again.stderr and again.stdout == ""
    (root / "var/lib/pumpwatch/data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "etc/pumpwatch/pumpwatch.yaml").write_text(f"store: {{dir: {tmp_path}/elsewhere}}")
    gone = run("uninstall", "--root", root)
    assert gone.exit_code == 0, gone.output
    for kept in ("/etc/pumpwatch", "/var/lib/pumpwatch", f"{tmp_path}/elsewhere", "the user trades"):
        assert kept in gone.stderr
    assert (root / "var/lib/pumpwatch/data").exists() and not (root / "opt/pumpwatch").exists()
    assert "nothing to do" in run("uninstall", "--root", root).stderr


@needs_systemd
def test_a_purge_asks_first(tmp_path: Path, zipapp_file: Path) -> None:
    root = system(tmp_path)
    run("install", "--root", root, "--program", zipapp_file, "--python", "/usr/bin/python3")
    refused = run("uninstall", "--purge", "--root", root, answer="n\n")
    assert refused.exit_code != 0 and "Remove permanently /etc/pumpwatch?" in refused.output
    assert (root / "opt/pumpwatch/pumpwatch.pyz").exists()
    assert run("uninstall", "--purge", "--yes", "--root", root).exit_code == 0
    assert not [path for path in files_below(root) if "pumpwatch" in path]
    assert "pumpwatch" not in (root / "etc/passwd").read_text() + (root / "etc/group").read_text()


@needs_systemctl
def test_without_roots_rights_there_is_one_message(
        tmp_path: Path, zipapp_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = run("install", "--root", system(tmp_path), "--program", zipapp_file, "--python", "/usr/bin/python3")
    assert said(done) == "install must run as root" and done.stdout == ""
    assert said(run("uninstall", "--root", tmp_path / "root")) == "uninstall must run as root"


def test_only_a_zipapp_is_installed(tmp_path: Path) -> None:
    assert "only a zipapp can install itself" in said(run("install", "--dry-run", "--root", tmp_path))
    (tmp_path / "text").touch()
    assert "is not a zipapp" in said(run("install", "--root", tmp_path, "--program", tmp_path / "text"))


def test_a_system_without_systemd_is_left_alone(tmp_path: Path, zipapp_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("install", "--root", tmp_path, "--program", zipapp_file, "--python", "/usr/bin/python3")
    assert "does not have systemd" in said(done) and not (tmp_path / "opt").exists()
