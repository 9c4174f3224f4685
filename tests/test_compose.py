"""The compose file and its samples: what can be checked without Docker is checked, with the real servers where they are here."""

from __future__ import annotations

import configparser
import random
import re
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from pumpwatch.config import load
from pumpwatch.plugins import load_plugins
from tests.postgres_server import PgBouncer, PostgresServer, program, sql
from tests.redis_server import RedisNode, until
from tests.redis_server import program as redis_program

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "packaging" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# of the compose specification, as far as this file uses it
KEYS = {"image", "build", "restart", "environment", "volumes", "command", "healthcheck", "depends_on", "hostname", "ports",
        "ulimits", "shm_size", "stop_grace_period"}
HEALTH_KEYS = {"test", "interval", "timeout", "retries"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
# variables that the documents of each image name
VARIABLES = {
    "questdb/questdb": r"QDB_[A-Z0-9_]+",
    "timescale/timescaledb": r"POSTGRES_(USER|PASSWORD|DB|INITDB_ARGS|HOST_AUTH_METHOD)|TS_TUNE_(MEMORY|NUM_CPUS)|NO_TS_TUNE|"
                             r"TIMESCALEDB_TELEMETRY",
    "edoburu/pgbouncer": r"DB_(USER|PASSWORD|HOST|NAME|PORT)|AUTH_TYPE|POOL_MODE",
    "redis": r"REDIS_PASSWORD|REDISCLI_AUTH",  # ours, and that of redis-cli
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_known_keys_and_names_what_is_there(name: str) -> None:
    service = SERVICES[name]
    assert service.keys() <= KEYS and ("image" in service) != ("build" in service)
    assert service.get("healthcheck", {}).keys() <= HEALTH_KEYS
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES and how["condition"] in CONDITIONS
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (FOLDER / source).is_file(), volume


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "image" in service])
def test_an_image_has_a_version_and_gets_variables_that_it_knows(name: str) -> None:
    image, _, version = SERVICES[name]["image"].partition(":")
    assert re.match(r"v?\d", version)
    for variable in SERVICES[name].get("environment", {}):
        assert re.fullmatch(VARIABLES[image], variable), variable


def test_no_secret_is_in_a_file_and_nothing_is_published_to_other_hosts() -> None:
    text = "".join(path.read_text("utf-8") for path in FOLDER.iterdir())
    assert set(re.findall(r"(\w*(?:PASSWORD|TOKEN)\w*): (?!\$\{\w+:\?)\S+", text)) == set()
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", ()))


def test_pumpwatch_reads_its_config_and_finds_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUMPWATCH_API__LISTEN", raising=False)
    for name, value in SERVICES["pumpwatch"]["environment"].items():
        monkeypatch.setenv(name, "secret" if value else "")
    config = load(FOLDER / "pumpwatch.yaml")
    assert load_plugins(config).make_sinks(config).keys() == {"questdb", "postgres"}
    assert config.sinks["postgres"]["password"] == config.redis.password == config.api.token == "secret"
    named = {*re.findall(r"@([\w-]+):", str(config.sinks)), config.sinks["questdb"]["addr"].split(":")[0],
             *(node.split(":")[0] for node in config.redis.nodes)}
    assert named <= SERVICES.keys()
    mounts = [volume.split(":")[1] for volume in SERVICES["pumpwatch"]["volumes"]]
    assert {config.store.dir, config.backup.folder} <= set(mounts)
    assert SERVICES["pumpwatch"]["ports"] == [f"127.0.0.1:{config.api.listen[8:]}:{config.api.listen[8:]}"]  # type: ignore[index]


def test_the_image_installs_extras_that_exist_and_leaves_out_what_it_does_not_need() -> None:
    text = (FOLDER / "Dockerfile").read_text("utf-8")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    extras = re.search(r"/src\[([\w,]+)\]", text)
    assert extras and set(extras[1].split(",")) <= set(setup["options.extras_require"])
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert ignored[0] == "**" and all((ROOT / line[1:]).exists() for line in ignored if line.startswith("!"))


def test_pgbouncer_runs_with_the_sample(postgres_server: PostgresServer) -> None:
    bouncer = PgBouncer(postgres_server, pool=1)
    text = (FOLDER / "pgbouncer.ini").read_text("utf-8")
    users = bouncer.folder / "users"
    for old, new in (("host=postgres port=5432 dbname=market", f"host=127.0.0.1 port={postgres_server.port} dbname=postgres"),
                     ("0.0.0.0", "127.0.0.1"), ("6432", str(bouncer.port)), ("/etc/pgbouncer/userlist.txt", str(users))):
        assert text.count(old) == 1
        text = text.replace(old, new)
    users.write_text('"postgres" "any"\n')
    (bouncer.folder / "pgbouncer.ini").write_text(text)
    bouncer.run(program("pgbouncer"), str(bouncer.folder / "pgbouncer.ini"))
    found: list[tuple[Any, ...]] = []
    for _ in range(1_000):
        with suppress(psycopg.OperationalError):
            found = sql(f"postgresql://postgres:any@127.0.0.1:{bouncer.port}/market", "SELECT 1")
            break
    log = bouncer.log()
    bouncer.remove()
    assert found == [(1,)] and "WARNING" not in log, log


STUBS = {
    "docker-entrypoint.sh": 'exec "$@"',
    "getent": "sed -n \"s/$/ $2/;$(echo $2 | cut -d- -f2)p\" $ADDRESSES",
    "redis-cli": """
case "$1 $2" in
    "-h redis-"*) host=$(getent hosts "$2" | cut -d" " -f1); shift 2;;
    --cluster*) exec {program} "$@";;
    *) host=$OWN;;
esac
exec {program} -h "$host" "$@"
"""}


class Containers:
    """The compose file's Redis services without Docker: its commands, volumes and names, each on an address of the loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        self.names = [name for name in SERVICES if re.fullmatch(r"redis-\d", name)]
        for name, text in STUBS.items():
            (folder / name).write_text(f"#!/bin/sh\n{text.replace('{program}', redis_program('redis-cli'))}\n")
            (folder / name).chmod(0o755)
        self.addresses: list[str] = []

    def environ(self, own: str = "", name: str = "") -> dict[str, str]:
        return {"PATH": f"{self.folder}:/usr/bin:/bin", "ADDRESSES": str(self.folder / "addresses"), "OWN": own, "HOSTNAME": name,
                "REDIS_PASSWORD": "secret", "REDISCLI_AUTH": "secret"}

    def up(self) -> None:
        """Start every node on a new address, with the volume that the file gives it, then the service that makes the cluster."""
        net = f"127.{random.SystemRandom().randrange(1, 255)}.{random.SystemRandom().randrange(255)}"
        self.addresses = [f"{net}.{place}" for place in range(1, len(self.names) + 1)]
        (self.folder / "addresses").write_text("\n".join(self.addresses) + "\n")
        for name, own in zip(self.names, self.addresses, strict=True):
            volumes = dict(reversed(volume.split(":")[:2]) for volume in SERVICES[name]["volumes"])
            data = self.folder / "volumes" / volumes["/data"]
            data.mkdir(parents=True, exist_ok=True)
            config = (FOLDER / volumes["/usr/local/etc/redis/redis.conf"]).read_text("utf-8")
            config = config.replace("bind 0.0.0.0", f"bind {own}\nbind-source-addr {own}")
            (data / "redis.conf").write_text(config)
            command = SERVICES[name]["command"].replace("$$", "$").replace("/usr/local/etc/redis", str(data))
            self.processes.append(subprocess.Popen(shlex.split(command), cwd=data, env=self.environ(own, name),
                                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until(lambda: all(self.ask(own, "ping") == "PONG" for own in self.addresses), "the nodes answer")
        subprocess.run(shlex.split(SERVICES["redis-cluster"]["command"].replace("$$", "$")), env=self.environ(), check=True,
                       stdout=subprocess.DEVNULL)

    def ask(self, address: str, *words: str) -> str:
        return subprocess.run([redis_program("redis-cli"), "-h", address, *words], env=self.environ(), capture_output=True,
                              text=True, check=False).stdout.strip()

    def down(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)
        self.processes.clear()


def test_redis_keeps_its_data_over_down_and_up_with_other_addresses(tmp_path: Path) -> None:
    run = Containers(tmp_path)

    def whole() -> bool:
        rows = [row.split() for row in run.ask(run.addresses[0], "cluster", "nodes").splitlines()]
        there = {row[1].split(":")[0] for row in rows if "fail" not in row[2] and row[7] == "connected"}
        followers = [row for row in rows if row[2].endswith("slave")]
        return there == set(run.addresses) and len(followers) == 3 and all(
            "cluster_state:ok" in run.ask(own, "cluster", "info") for own in run.addresses)

    try:
        run.up()
        until(whole, "the cluster is whole")
        assert until(lambda: run.ask(run.addresses[0], "-c", "set", "kept", "yes") == "OK", "it takes a key")
        run.down()
        run.up()
        until(whole, "the cluster is whole on its new addresses")
        holder = until(lambda: next((own for own in run.addresses if run.ask(own, "get", "kept") == "yes"), ""), "it has the key")
        assert "redis-" in run.ask(holder, "cluster", "slots"), "collectors are told names"
    finally:
        run.down()


def test_redis_runs_with_the_sample_as_a_node_of_a_cluster() -> None:
    settings: dict[str, str] = {}
    for line in (FOLDER / "redis.conf").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            settings[name] = value
    node = RedisNode(settings={**{name: value for name, value in settings.items() if name not in ("port", "bind", "dir")},
                               "requirepass": "secret", "masterauth": "secret", "cluster-announce-hostname": "redis-1"})
    node.start()
    try:
        asked = subprocess.run(["redis-cli", "-p", str(node.port), "config", "get", "maxmemory-policy"], capture_output=True,
                               text=True, check=True, env={"REDISCLI_AUTH": "secret", "PATH": "/usr/bin:/bin"})
        assert asked.stdout.split() == ["maxmemory-policy", "noeviction"]
    finally:
        node.remove()
