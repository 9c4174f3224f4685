"""Archives are written in a process of their own, which may be killed, be absent, or be unable to start."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import Archive, Pass, Span, write_archive
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.archive_writer import ArchiveProcess, ArchiveThread, ArchiveWriter, lean_copy, receive, send
from pumpwatch.listing.context import Reach
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.notice_file import ShownSight
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.model import SPOT, Instrument
from pumpwatch.store.evidence import SEEN, Evidence
from pumpwatch.store.sights import Sight
from tests.listing.market import listing_of
from tests.listing.window_desk import CATALOGUE, MARKET

LISTING = listing_of()
SIGHT = Sight(LISTING.source, LISTING.notice_id, "KITE", LISTING.board, LISTING.kind, LISTING.detected_at_ns,
              LISTING.announced_at_ns, LISTING.title, 0, 0, LISTING.source, LISTING.notice_id)
SHOWN = Evidence(LISTING.source, LISTING.notice_id, LISTING.detected_at_ns, SEEN, {"raw": "row", "answer": None})
SPAN = Span("KITE", [LISTING], intervals_of([LISTING], Reach()), seen=[ShownSight(SIGHT, (SHOWN,))])


@pytest.fixture
def process() -> Iterator[ArchiveProcess]:
    made = ArchiveProcess()
    yield made
    made.close()


def written(writer: ArchiveWriter, folder: Path) -> Archive:
    return writer.write(folder, SPAN, MARKET, CATALOGUE, [], [], Pass(7))


def wait_for(condition: Callable[[], object]) -> None:
    with gevent.Timeout(300):
        while not condition():
            gevent.sleep(0.01)


def started(process: ArchiveProcess) -> int:
    process.prepare()
    wait_for(lambda: process.pid)
    assert process.pid is not None
    return process.pid


def test_a_process_writes_the_files_that_a_thread_writes(process: ArchiveProcess, tmp_path: Path) -> None:
    archives = [written(process, tmp_path / "process"), written(ArchiveThread(), tmp_path / "thread")]
    manifests = [read_manifest(archive.path) for archive in archives]
    assert manifests[0] is not None and manifests[1] is not None
    assert manifests[0].files == manifests[1].files != {}
    assert manifests[0].venues == manifests[1].venues != ()
    assert manifests[0].content_id == manifests[1].content_id
    assert [check_archive(archive.path).faults for archive in archives] == [(), ()]


def test_the_process_is_started_ahead_and_ended_when_it_rests(process: ArchiveProcess, tmp_path: Path) -> None:
    pid = started(process)
    assert written(process, tmp_path).trades > 1000
    assert process.pid == pid
    process.rest()
    wait_for(lambda: process.pid is None and not Path(f"/proc/{pid}").exists())
    assert written(process, tmp_path).trades > 1000
    assert process.pid not in (None, pid)


def test_the_hub_runs_while_the_process_writes(process: ArchiveProcess, tmp_path: Path) -> None:
    writing = gevent.spawn(written, process, tmp_path)
    turns = 0
    while not writing.ready():
        gevent.sleep(0.001)
        turns += 1
    assert turns > 10 and writing.get().trades > 1000


def test_a_process_that_was_killed_is_replaced(process: ArchiveProcess, tmp_path: Path) -> None:
    pid = started(process)
    os.kill(pid, signal.SIGKILL)
    assert written(process, tmp_path).trades > 1000
    assert process.pid != pid


def test_a_process_that_hangs_is_killed_and_replaced(
        process: ArchiveProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = started(process)
    os.kill(pid, signal.SIGSTOP)
    writing = gevent.spawn(written, process, tmp_path)
    gevent.sleep(0.1)  # it has begun, and waits for LONGEST_S as it is
    monkeypatch.setattr("pumpwatch.listing.archive_writer.LONGEST_S", 1.0)
    late = gevent.spawn(process._kill_late)
    wait_for(lambda: process.pid != pid)
    late.kill()
    assert writing.get(timeout=60).trades > 1000


def test_a_process_that_always_ends_is_an_error_of_this_archive() -> None:
    process = ArchiveProcess(("/bin/false",))
    with pytest.raises(StorageError, match="ended"):
        written(process, Path("/nowhere"))
    assert process.pid is None


@pytest.mark.parametrize("program", [("/nowhere/python",), ("",)])
def test_where_no_process_can_be_started_a_thread_writes(tmp_path: Path, program: tuple[str, ...]) -> None:
    assert written(ArchiveProcess(program), tmp_path).trades > 1000


def test_it_works_where_gevent_has_patched_everything(tmp_path: Path) -> None:
    program = f"""if True:
        from gevent import monkey
        monkey.patch_all()
        from pathlib import Path
        from pumpwatch.listing.archive_writer import ArchiveProcess
        from tests.listing.test_archive_writer import written
        process = ArchiveProcess()
        process.prepare()
        written(process, Path({str(tmp_path)!r}))
        pid = process.pid
        assert pid
        process._end()
        print(pid)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=400)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(f"/proc/{int(done.stdout)}").exists()


def test_an_error_of_the_disk_is_the_same_error_here(process: ArchiveProcess, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write the archive") as raised:
        written(process, tmp_path / "file")
    assert "make room on the disk" in raised.value.hint
    assert written(process, tmp_path).trades > 1000


def test_a_lean_copy_makes_the_same_archive(tmp_path: Path) -> None:
    big = Catalogue()
    for number in range(1000):
        big.add((("alpha", "delta")[number % 2], SPOT), Instrument(symbol=f"C{number}USDT", base=f"C{number}", quote="USDT"))
    for venue, instrument in zip(CATALOGUE.venues, CATALOGUE.instruments, strict=True):
        big.add(venue, instrument)
    moved = MARKET.take(slice(None))
    columns = list(moved.columns())
    columns[1] = moved.instrument + np.int32(1000)
    moved = type(MARKET)(*columns)  # type: ignore[arg-type]
    rows, batch = lean_copy(big, "KITE", moved)
    assert len(rows) == len(big.matching("KITE")) + 2  # one of delta, and one of gamma, which has KITE in KRW
    lean = Catalogue()
    for venue, instrument in rows:
        lean.add(venue, instrument)
    made = [read_manifest(write_archive(tmp_path / str(number), SPAN, content, catalogue, [], [], Pass(7)).path)
            for number, (content, catalogue) in enumerate(((moved, big), (batch, lean)))]
    assert made[0] is not None and made[1] is not None
    assert (made[0].files, made[0].venues, made[0].content_id) == (made[1].files, made[1].venues, made[1].content_id)


def test_messages_arrive_as_they_were_sent_and_a_cut_one_is_an_error() -> None:
    pipe = io.BytesIO()
    message = (np.arange(10_000), "text", {"a": [1, None]})
    send(pipe, message)
    send(pipe, None)
    pipe.seek(0)
    column, *rest = receive(pipe)
    assert (column == message[0]).all() and rest == list(message[1:])
    assert receive(pipe) is None
    with pytest.raises(EOFError):
        receive(pipe)
    pipe.seek(0)
    pipe.truncate(1000)
    with pytest.raises(EOFError):
        receive(pipe)
