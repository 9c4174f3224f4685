"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import settings

from pumpwatch.sim.process import SimProcess
from tests import network
from tests.forked import Forked, forked_venues
from tests.postgres_server import pgbouncer, postgres, postgres_server, private_postgres  # noqa: F401 fixtures
from tests.questdb_server import hung_questdb, private_questdb, questdb_server  # noqa: F401 fixtures
from tests.redis_server import redis_cluster, redis_nodes, shared_redis, single_redis  # noqa: F401 fixtures
from tests.s3_server import s3_server  # noqa: F401 a fixture
from tests.timescale_server import timescale  # noqa: F401 a fixture
from tests.zipapp import zipapp  # noqa: F401 a fixture

# A busy machine is no failure. `--hypothesis-profile thorough` has four times as many examples.
settings.register_profile("pumpwatch", deadline=None, print_blob=True, max_examples=100)
settings.register_profile("thorough", settings.get_profile("pumpwatch"), max_examples=400)
settings.load_profile("pumpwatch")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Share out whole files where there are several processes."""
    from tests.schedule import ByFile

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep the thousands of tests that are found out of the sight of the garbage collector, which would look at them for ever."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes longest in front where there are several processes; alone, the order is that of the files."""
    if hasattr(config, "workerinput"):
        from tests.schedule import line_of

        items.sort(key=lambda item: line_of(item.nodeid))


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def no_configuration_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's own PUMPWATCH_ variables out of every test and of what it starts.

    The API of what it starts is off unless the test's config or variables say where it listens: its port is one for all.
    Instead of the authorities that the machine trusts there is one that has signed nothing: reading 140 takes 45 ms of CPU.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("PUMPWATCH_"):
                patch.delenv(name)
        patch.setenv("PUMPWATCH_API__LISTEN", "off")
        authority = tmp_path_factory.mktemp("authority") / "ca.pem"
        trustme.CA().cert_pem.write_to_path(authority)
        for name, path in zip(network.CERTIFICATES, (str(authority), os.devnull), strict=True):
            patch.setenv(name, path)
        for name in network.BUNDLES:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def venues_without_imports() -> Iterator[None]:
    """Fork the processes of SimProcess, which start in a fifth of the time. `python -m pumpwatch.sim` has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimProcess, "launch", staticmethod(forked_venues))
        yield


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `pumpwatch ARGS...` in a process of its own, in an empty folder; input, env and timeout_s may be given."""

    def run(*args: str | Path, input: str = "", env: dict[str, str] | None = None,
            timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "pumpwatch", *map(str, args)], input=input, text=True,
                              capture_output=True, cwd=tmp_path, env=os.environ | (env or {}), timeout=timeout_s,
                              check=False)

    return run


@pytest.fixture
def forked_cli(tmp_path: Path) -> Cli:
    """Run `pumpwatch ARGS...` as `cli` does, forked from a process that has imported it; no input."""

    def run(*args: str | Path, env: dict[str, str] | None = None, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        words = [str(arg) for arg in args]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
            child = Forked(words, tmp_path, (nothing.fileno(), out.fileno(), err.fileno()), env=os.environ | (env or {}))
            try:
                code = child.wait(timeout_s)
            finally:
                child.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())

    return run
