"""A service manager, if one is running, gets each state."""

from __future__ import annotations

import select
import socket
from pathlib import Path

import gevent

from pumpwatch.ops.service_manager import keep_alive, notify


def test_a_state_reaches_the_socket_of_the_manager(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        assert notify("READY=1", {"NOTIFY_SOCKET": address})
        assert manager.recv(100) == b"READY=1"


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0pumpwatch-test-notify")
        assert notify("MAINPID=7", {"NOTIFY_SOCKET": "@pumpwatch-test-notify"})
        assert manager.recv(100) == b"MAINPID=7"


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:1"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})


def test_the_watchdog_hears_of_the_process_until_it_ends(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        alive = gevent.spawn(keep_alive, {"NOTIFY_SOCKET": address, "WATCHDOG_PID": "1"})
        alive.join(timeout=0.01)
        assert manager.recv(100) == b"WATCHDOG=1" and not alive.dead
        alive.kill()
    keep_alive({})


def test_the_watchdog_goes_on_after_a_report_that_could_not_be_sent(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    alive = gevent.spawn(keep_alive, {"NOTIFY_SOCKET": address}, every_s=0.01)
    gevent.sleep(0.03)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        for _ in range(1000):
            gevent.sleep(0.01)
            if select.select([manager], [], [], 0)[0]:
                break
        assert manager.recv(100, socket.MSG_DONTWAIT) == b"WATCHDOG=1"
    alive.kill()
