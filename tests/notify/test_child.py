"""A program is run with bounds on its time and output, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from pumpwatch.notify.child import KEPT_BYTES, EndedProgram, end_children, run_child

LONG_S = 60.0


def python(code: str, given: bytes = b"", within_s: float = LONG_S) -> EndedProgram:
    return run_child([sys.executable, "-S", "-c", code], given, within_s)


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 the folder itself is a handle while it is read


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_gets_its_input_whole_and_its_exit_code_and_last_words_come_back() -> None:
    before = handles()
    given = bytes(range(256)) * 40_000  # a pipe holds 64 KiB
    code = "import sys, zlib\nprint(zlib.crc32(sys.stdin.buffer.read()), flush=True)\nprint('oh', file=sys.stderr)\nsys.exit(3)"
    ended = python(code, given)
    assert (ended.code, ended.output) == (3, b"%d\noh\n" % zlib.crc32(given))
    assert handles() == before


def test_a_program_that_reads_nothing_is_no_failure() -> None:
    assert python("pass", bytes(10_000_000)) == EndedProgram(0, b"")


def test_endless_output_is_cut_to_its_end() -> None:
    ended = python("import sys; sys.stdout.write('x' * 30_000_000 + 'end')")
    assert ended.code == 0 and len(ended.output) == KEPT_BYTES and ended.output.endswith(b"xend")


def test_a_program_that_takes_too_long_is_killed_with_all_that_it_started() -> None:
    ended = run_child(["/bin/sh", "-c", "sleep 1000 & echo $!; wait"], b"", 0.5)
    assert ended.code is None
    deadline_s = time.monotonic() + LONG_S
    while is_running(int(ended.output)):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_program_that_prints_for_ever_is_killed_too() -> None:
    assert python("while True: print('y' * 1000)", within_s=0.5).code is None


def test_what_a_program_leaves_running_cannot_hold_up_its_end_by_printing() -> None:
    loud = "import os, sys\nwhile True: sys.stdout.write('y' * 100_000)"
    words = ["/bin/sh", "-c", f'for each in 1 2 3 4; do {sys.executable} -S -c "{loud}" & done; sleep 1; exit 3']
    ended = run_child(words, b"", LONG_S)
    assert ended.code == 3 and ended.output.endswith(b"yyy")


def test_a_program_that_is_waited_for_is_ended_from_outside(tmp_path: Path) -> None:
    ends: list[EndedProgram] = []
    words = ["/bin/sh", "-c", f"echo > {tmp_path}/began; sleep 1000"]
    waiting = threading.Thread(target=lambda: ends.append(run_child(words, b"", 1000.0)))
    waiting.start()
    deadline_s = time.monotonic() + LONG_S
    while not (tmp_path / "began").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    end_children()
    waiting.join(LONG_S)
    assert [ended.code for ended in ends] == [-signal.SIGKILL]
    end_children()  # there is none left


def test_a_program_that_a_signal_ends_has_its_number() -> None:
    assert python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)").code == -15


def test_a_program_that_does_not_exist_leaves_no_handle() -> None:
    before = handles()
    with pytest.raises(OSError):
        run_child(["/does/not/exist"], b"", LONG_S)
    assert handles() == before


def test_an_exit_code_that_another_part_of_the_process_took_is_unknown() -> None:
    code = ("import signal; from pumpwatch.notify.child import UNKNOWN, run_child; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
            " ended = run_child(['/bin/sh', '-c', 'sleep 0.5; echo hi'], b'', 60.0); print(ended.code == UNKNOWN, ended.output)")
    assert run_child([sys.executable, "-c", code], b"", LONG_S).output == b"True b'hi\\n'\n"


def test_no_shell_reads_the_words() -> None:
    assert run_child(["echo", "$HOME; exit 3", "`id`"], b"", LONG_S) == EndedProgram(0, b"$HOME; exit 3 `id`\n")
