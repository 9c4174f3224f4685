"""Memory stays within its limit: the recent trades give way first, and get their room back."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from pumpwatch.config_disk import MemoryConfig
from pumpwatch.ops.memory_watch import LEAST_BYTES, MemoryWatch, group_limit, memory_limit, resident_bytes

MB = 1_000_000


class Trades:
    """Recent trades that fill what they may use."""

    def __init__(self, most: int) -> None:
        self.max_bytes = self.nbytes = most

    def limit(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = min(self.nbytes, max_bytes)


class Process:
    """A process whose memory is a part that stays and the recent trades."""

    def __init__(self, stays: int, trades: int = 500 * MB) -> None:
        self.stays, self.trades, self.trims = stays, Trades(trades), 0
        self.watch = MemoryWatch(MemoryConfig(limit_mb=1000), self.trades, lambda: self.stays + self.trades.nbytes, self.trim)

    def trim(self) -> None:
        self.trims += 1


def test_recent_trades_shrink_until_the_limit_holds(caplog: pytest.LogCaptureFixture) -> None:
    process = Process(stays=700 * MB)
    for _ in range(10):
        process.watch.look()
    assert process.watch.rss_bytes <= 1000 * MB and process.watch.level == "shrunk" and process.trims == 2
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["memory near its limit"]


def test_a_process_that_is_too_large_without_them_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    process = Process(stays=1200 * MB)
    for _ in range(40):
        process.watch.look()
    assert process.watch.level == "above" and process.trades.nbytes <= LEAST_BYTES
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "memory near its limit", "memory above its limit"]


def test_recent_trades_get_their_room_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    process = Process(stays=1200 * MB)
    for _ in range(40):
        process.watch.look()
    process.stays = 100 * MB
    for _ in range(40):
        process.watch.look()
    assert process.watch.level == "ok" and process.trades.max_bytes == 500 * MB
    assert caplog.records[-1].getMessage().startswith("memory within its limit again")


def test_below_the_limit_nothing_changes() -> None:
    process = Process(stays=100 * MB)
    process.watch.look()
    assert process.watch.figures() == {"rss_bytes": 600 * MB, "limit_bytes": 1000 * MB, "used_ratio": 0.6,
                                       "level": "ok", "recent_limit_bytes": 500 * MB}
    assert process.trims == 0


def test_the_limit_is_that_of_the_config_the_group_or_the_machine() -> None:
    machine = memory_limit(MemoryConfig(), lambda: 0)
    assert machine > 100 * MB
    assert memory_limit(MemoryConfig(), lambda: 100 * MB) == 90 * MB
    assert memory_limit(MemoryConfig(), lambda: 100 * machine) == machine, "a group may be allowed more than there is"
    assert memory_limit(MemoryConfig(limit_mb=700), lambda: 100 * MB) == 700 * MB


def test_the_smallest_limit_of_the_groups_around_the_process_counts(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "pumpwatch.service"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/system.slice/pumpwatch.service\n")
    assert group_limit(tmp_path / "cgroup", tmp_path) == 0
    (group / "memory.max").write_text("max\n")
    (group / "memory.high").write_text("700000000\n")
    (group.parent / "memory.max").write_text("600000000\n")
    assert group_limit(tmp_path / "cgroup", tmp_path) == 600_000_000


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    group = tmp_path / "memory" / "docker"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("3:cpu:/docker\n2:memory:/docker\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (group / "memory.limit_in_bytes").write_text("500000000\n")
    assert group_limit(tmp_path / "cgroup", tmp_path) == 500_000_000
    assert group_limit(tmp_path / "missing", tmp_path) == 0


def test_resident_memory_is_that_of_this_process() -> None:
    before = resident_bytes()
    block = b"x" * (64 << 20)
    assert resident_bytes() - before > 32 << 20 and len(block) == 64 << 20


ALLOCATING = """
import ctypes, threading
from pumpwatch.ops.memory_watch import share_heap

assert share_heap()
kept = []
threads = [threading.Thread(target=lambda: kept.append([bytes(1000) for _ in range(1000)])) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
c = ctypes.CDLL(None)
c.fdopen.restype = ctypes.c_void_p
stdout = ctypes.c_void_p(c.fdopen(1, b"w"))
c.malloc_info(0, stdout)
c.fflush(stdout)
"""


def test_all_threads_allocate_from_one_heap() -> None:
    done = subprocess.run([sys.executable, "-c", ALLOCATING], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("<heap nr=") == 1
