"""packaging/questdb names what is missing, and asks Maven only for a jar that it does not have."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.questdb_server import SCRIPT

TOOLS = ("sh", "sed", "mkdir", "mktemp", "mv", "rm", "rmdir", "cat")
JAR = "questdb-9.3.4.jar"


PORTS = ("QDB_HTTP_BIND_TO", "QDB_HTTP_MIN_NET_BIND_TO", "QDB_PG_NET_BIND_TO")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Machine:
    """A PATH with the usual tools and the programs that a test installs, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.home = folder / "bin", folder / "home of a user"
        self.bin.mkdir()
        self.home.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    def install(self, name: str, script: str) -> None:
        program = self.bin / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def run(self, *args: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the script with ports that are free, whatever else runs on this machine."""
        free = {name: f"127.0.0.1:{free_port()}" for name in PORTS}
        environ = {"PATH": str(self.bin), "HOME": str(self.home), **free, **environ}
        return subprocess.run([SCRIPT, *args], env=environ, text=True, capture_output=True, timeout=60, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


MAVEN = """for word; do case $word in -DoutputDirectory=*) echo jar > "${word#*=}/questdb-9.3.4.jar" ;; esac; done
echo "$@" >> "$HOME/asked" """


def test_the_jar_is_fetched_by_maven_once_and_its_path_printed(machine: Machine) -> None:
    machine.install("mvn", MAVEN)
    jar = machine.home / ".cache" / "pumpwatch" / JAR
    for _ in range(2):
        done = machine.run("fetch")
        assert (done.returncode, done.stdout) == (0, f"{jar}\n")
    asked = (machine.home / "asked").read_text().splitlines()
    assert len(asked) == 1
    assert "-Dartifact=org.questdb:questdb:9.3.4" in asked[0]
    assert [path.name for path in jar.parent.iterdir()] == [JAR]


def test_the_cache_may_be_in_another_folder(machine: Machine, tmp_path: Path) -> None:
    machine.install("mvn", MAVEN)
    done = machine.run("fetch", XDG_CACHE_HOME=str(tmp_path / "elsewhere"))
    assert done.stdout == f"{tmp_path}/elsewhere/pumpwatch/{JAR}\n"


def test_a_failed_fetch_leaves_nothing_behind(machine: Machine) -> None:
    machine.install("mvn", 'echo "[ERROR] no route" >&2; exit 1')
    done = machine.run("fetch")
    assert done.returncode == 69
    assert "no route" in done.stderr
    assert list((machine.home / ".cache" / "pumpwatch").iterdir()) == []


def test_without_maven_it_tells_how_to_install_it(machine: Machine) -> None:
    done = machine.run("fetch")
    assert done.returncode == 69
    assert "mvn is not installed" in done.stderr
    assert "apt install maven" in done.stderr


def test_another_jar_needs_no_maven(machine: Machine, tmp_path: Path) -> None:
    own = tmp_path / "own.jar"
    assert machine.run("fetch", QUESTDB_JAR=str(own)).returncode == 69
    own.write_text("jar")
    assert machine.run("fetch", QUESTDB_JAR=str(own)).stdout == f"{own}\n"


def test_missing_or_old_java_is_reported(machine: Machine, tmp_path: Path) -> None:
    done = machine.run("start", tmp_path / "db")
    assert done.returncode == 69
    assert "java is not installed" in done.stderr
    machine.install("java", "echo 'openjdk version \"11.0.22\" 2024-01-16' >&2")
    done = machine.run("start", tmp_path / "db")
    assert done.returncode == 69
    assert "java 11 is too old" in done.stderr


@pytest.mark.parametrize(("java", "native"), [("17.0.15", False), ("25", True)])
def test_a_server_starts_on_loopback_and_keeps_edited_settings(
        machine: Machine, tmp_path: Path, java: str, native: bool) -> None:
    machine.install("mvn", MAVEN)
    machine.install("java", f"case $1 in -version) echo 'openjdk version \"{java}\"' >&2 ;; *) echo \"$@\" ;; esac")
    folder = tmp_path / "a db"
    done = machine.run("start", folder)
    assert done.returncode == 0
    assert f"-m io.questdb/io.questdb.ServerMain -d {folder}" in done.stdout
    assert ("--enable-native-access=io.questdb" in done.stdout) == native
    settings = folder / "conf" / "server.conf"
    bound = [line for line in settings.read_text().splitlines() if "bind.to" in line]
    assert len(bound) == 3
    assert all("=127.0.0.1:" in line for line in bound)
    settings.write_text("http.bind.to=127.0.0.1:9100\n")
    machine.run("start", folder)
    assert settings.read_text() == "http.bind.to=127.0.0.1:9100\n"


JAVA = "case $1 in -version) echo 'openjdk version \"17.0.15\"' >&2 ;; *) echo started ;; esac"


def test_a_taken_port_is_named_in_one_line_before_anything_starts(machine: Machine, tmp_path: Path) -> None:
    machine.install("mvn", MAVEN)
    machine.install("java", JAVA)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for name in PORTS:
            for host in ("127.0.0.1", "0.0.0.0"):
                done = machine.run("start", tmp_path / "db", **{name: f"{host}:{port}"})
                assert (done.returncode, done.stdout) == (69, "")
                assert f"{host}:{port} (" in done.stderr.splitlines()[0] and "is taken" in done.stderr
                assert name in done.stderr
        assert machine.run("start", tmp_path / "db", QDB_HTTP_BIND_TO=f"127.0.0.9:{port}").stdout == "started\n"
        assert machine.run("start", tmp_path / "db", QDB_PG_NET_BIND_TO=f"127.0.0.1:{port}",
                           QDB_PG_ENABLED="false").stdout == "started\n"
    (tmp_path / "db" / "conf" / "server.conf").write_text(f"# http.bind.to=1.2.3.4:1\n http.bind.to = 127.0.0.1:{port}\n")
    with socket.create_server(("127.0.0.1", port)):
        assert f"127.0.0.1:{port} (http.bind.to)" in machine.run("start", tmp_path / "db", QDB_HTTP_BIND_TO="").stderr
    assert machine.run("start", tmp_path / "db", QDB_HTTP_BIND_TO="").stdout == "started\n"


def test_wrong_arguments_print_the_usage(machine: Machine) -> None:
    for words in ((), ("fetch", "x"), ("start",), ("stop",)):
        done = machine.run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: packaging/questdb")
    assert machine.run("--help").returncode == 0
