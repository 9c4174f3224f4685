"""packaging/test installs what it lacks where it may, and names it where it may not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "dirname", "cat", "cksum", "env", "sed", "head", "mkdir", "mktemp", "mv", "rm", "rmdir", "bash")
JAVA = "echo 'openjdk version \"17.0.15\"' >&2"
MAVEN = 'for word; do case $word in -DoutputDirectory=*) echo jar > "${word#*=}/questdb-9.3.4.jar" ;; esac; done'
# installs a program for each package it knows, and writes down what it was asked for
APT = r"""echo "$@" >> "$HOME/asked"
for word; do case $word in
    openjdk-17-jre-headless | default-jre-headless) cp "$HOME/java" "$HOME/bin/java" ;;
    maven) cp "$HOME/mvn" "$HOME/bin/mvn" ;;
    update) [ ! -e "$HOME/offline" ] || exit 100 ;;
esac; done"""


class Machine:
    """A home and a PATH with the usual tools, an environment that is up to date, and what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.home, self.bin, self.venv = folder, folder / "bin", folder / "venv"
        for one in (self.bin, self.venv / "bin"):
            one.mkdir(parents=True)
        for tool in (*TOOLS, "cp"):
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)
        self.program(self.home / "java", JAVA)
        self.program(self.home / "mvn", MAVEN)
        self.program(self.bin / "python3.13", "exit 0")
        for name in ("ruff", "mypy", "python"):
            self.program(self.venv / "bin" / name, f"echo {name}")
        make = (f'. {ROOT}/packaging/environment; sum=$(cat "$root/setup.cfg" "$root/pyproject.toml" | cksum); '
                'printf "test %s %s\\n" "$root" "$sum"')
        stamp = subprocess.run(["sh", "-c", make, str(ROOT / "packaging" / "test")], capture_output=True, text=True, check=True)
        (self.venv / "pumpwatch-stamp").write_text(stamp.stdout)

    def program(self, path: Path, script: str) -> None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def be(self, user: int) -> None:
        self.program(self.bin / "id", f"echo {user}")

    def asked(self) -> list[str]:
        file = self.home / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def run(self) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.bin), "HOME": str(self.home), "PUMPWATCH_VENV": str(self.venv)}
        return subprocess.run([ROOT / "packaging" / "test"], env=environ, text=True, capture_output=True, timeout=60, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_root_on_debian_gets_what_is_missing_installed_and_the_tests_run(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "apt-cache", "exit 0")
    done = machine.run()
    assert (done.returncode, done.stdout.split()) == (0, ["ruff", "mypy", "python"]), done.stderr
    assert machine.asked() == ["-q update", "-q -y --no-install-recommends install openjdk-17-jre-headless maven"]
    assert machine.run().returncode == 0
    assert len(machine.asked()) == 2


def test_a_system_without_java_17_gets_its_own_java_and_an_update_that_fails_ends_nothing(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "apt-cache", "exit 100")
    (machine.home / "offline").touch()
    assert machine.run().returncode == 0
    assert machine.asked()[1].endswith("install default-jre-headless maven")


def test_what_cannot_be_installed_is_named(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", "exit 100")
    machine.program(machine.bin / "apt-cache", "exit 0")
    done = machine.run()
    assert done.returncode == 69
    assert "missing: openjdk-17-jre-headless maven\n  apt-get could not install them" in done.stderr


@pytest.mark.parametrize("apt", [True, False])
def test_whoever_is_not_root_or_not_on_debian_is_told_what_is_missing(machine: Machine, apt: bool) -> None:
    machine.be(1000 if apt else 0)
    if apt:
        machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "java", "echo 'openjdk version \"11.0.22\"' >&2")
    done = machine.run()
    assert (done.returncode, done.stdout, machine.asked()) == (69, "", [])
    assert "Java 17 or newer" in done.stderr
    assert "Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven\n" in done.stderr
