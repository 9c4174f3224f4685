"""The API beside a collector that records: over TLS, at a taken port, with thousands of connections. Recording goes on."""

from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess

CROWD = 5000
VENUES = ["binance.spot"]


@contextlib.contextmanager
def recording(folder: Path, address: str, **api: Any) -> Iterator[CollectorProcess]:
    """A collector that records, its API at an address."""
    with SimProcess(venues=VENUES, symbols=4, rate=200.0, folder=str(folder / "venues")) as sim, \
            CollectorProcess(sim, folder, api={"listen": address, **api}) as collector:
        collector.wait_until_up()
        yield collector
        records_on(collector)
        assert collector.stop() == 0
        assert "Traceback" not in collector.log()


@pytest.fixture(autouse=True)
def the_config_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUMPWATCH_API__LISTEN", raising=False)


def records_on(collector: CollectorProcess) -> None:
    """Wait until more trades are durable than now."""
    durable = collector.figures()["journal"]["durable_trades"]
    collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > durable + 100)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_curl_calls_it_over_tls_with_the_authority_and_not_without(tmp_path: Path) -> None:
    authority = trustme.CA()
    served = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    served.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    served.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o600)
    port = free_port()
    curl = [shutil.which("curl") or "curl", "--silent", "--show-error", "--max-time", "60", f"https://127.0.0.1:{port}/api/health"]
    with recording(tmp_path, f"127.0.0.1:{port}", tls_cert_file=str(tmp_path / "cert.pem"),
                   tls_key_file=str(tmp_path / "key.pem")) as collector:
        collector.wait_for_log(f"page https://127.0.0.1:{port}/")
        done = subprocess.run([*curl, "--fail", "--cacert", str(tmp_path / "ca.pem")], capture_output=True, text=True,
                              check=False)
        assert (done.returncode, done.stderr) == (0, "") and '"status"' in done.stdout
        stranger = subprocess.run(curl, capture_output=True, text=True, check=False)
        assert stranger.returncode == 60 and stranger.stdout == "", "its certificate is of an authority that curl does not know"
        with socket.create_connection(("127.0.0.1", port), 60) as plain:
            plain.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in plain.recv(1000)


def test_a_taken_port_is_one_warning_and_the_page_comes_once_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with recording(tmp_path, f"127.0.0.1:{port}") as collector:
            collector.wait_for_log("page not available, recording goes on")
            records_on(collector)
            assert "page http" not in collector.log()
            other.close()
            collector.wait_for_log(f"page http://127.0.0.1:{port}/")
            assert collector.log().count("page not available") == 1
            assert health(port) == 200


def health(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=60) as answer:
        return int(answer.status)


def test_thousands_of_open_connections_cost_nobody_but_themselves(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < CROWD + 500:
        pytest.skip(f"this shell allows fewer than {CROWD + 500} open files")
    port = free_port()
    with recording(tmp_path, f"127.0.0.1:{port}") as collector, contextlib.ExitStack() as crowd:
        collector.wait_for_log("page http")
        files = open_files(collector)
        for number in range(CROWD):  # of many addresses: the limit of one address is not what is tried
            place = f"127.{1 + number % 40}.0.1"
            crowd.enter_context(socket.create_connection(("127.0.0.1", port), 60, source_address=(place, 0)))
        records_on(collector)
        # those that were let in send nothing and are let go after ten seconds, so that others get in: not all the rest is refused
        held = collector.wait_until(lambda figures: counted(figures, "api_connections_refused_total") >= CROWD // 2)
        assert open_files(collector) <= files + 300
        assert held["venues"][0]["connections_up"] == held["venues"][0]["connections"] and held["journal"]["dropped_trades"] == 0
        crowd.close()
        assert health_again(port, collector) == 200


def open_files(collector: CollectorProcess) -> int:
    return len(list(Path(f"/proc/{collector.figures()['pid']}/fd").iterdir()))


def counted(figures: dict[str, Any], name: str) -> int:
    return sum(int(row["value"]) for row in figures["counters"] if row["name"] == name)


def health_again(port: int, collector: CollectorProcess) -> int:
    """Return the answer once there is one: those who have gone are noticed one after the other."""
    answers: list[int] = []

    def answered(figures: dict[str, Any]) -> bool:
        with contextlib.suppress(OSError):
            answers.append(health(port))
        return bool(answers)

    collector.wait_until(answered)
    return answers[0]
