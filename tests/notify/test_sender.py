"""The sender speaks JSON, bounds itself, and answers in its last line whatever is printed before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from pumpwatch.notify.channels import SENDER
from pumpwatch.notify.child import run_child
from pumpwatch.notify.sender import Request, SenderAnswer
from tests.notify.web_service import WebService


def answer_to(request: Request) -> SenderAnswer:
    environ = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = run_child(SENDER, msgspec.json.encode(request), 60.0, environ)
    assert ended.code == 0, ended.output
    return msgspec.json.decode(ended.output.rstrip().rpartition(b"\n")[2], type=SenderAnswer)


def test_a_post_is_sent_with_its_headers_as_it_is() -> None:
    with WebService() as service:
        request = Request(url=f"http://{service.address}/", timeout_s=30.0, body="카이트", headers={"X-Mine": "1"})
        assert answer_to(request) == SenderAnswer(True)
    ((headers, body),) = service.posts
    assert headers["x-mine"] == "1" and body.decode() == "카이트"


def test_an_address_that_is_none_is_an_answer() -> None:
    for url in ("http://", "http://[", "nonsense"):
        answer = answer_to(Request(url=url, timeout_s=1.0, headers={}))
        assert not answer.taken and answer.reason


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_ends_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    bound = ("import os, pathlib, sys, time; from pumpwatch.notify.sender import end_with_parent;"
             " assert end_with_parent(os.getppid());"
             " pathlib.Path(sys.argv[1] + '.new').write_text(str(os.getpid())); os.rename(sys.argv[1] + '.new', sys.argv[1]);"
             " time.sleep(1000)")
    starter = "import sys; from pumpwatch.notify.child import run_child; run_child(sys.argv[1:], b'', 1000)"
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", starter, sys.executable, "-c", bound, str(file)]) as parent:
        deadline_s = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline_s and parent.poll() is None
            time.sleep(0.01)
        pid = int(file.read_text())
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
        while is_running(pid):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def test_it_sends_nothing_where_that_process_is_gone_already() -> None:
    with WebService() as service:
        request = Request(url=f"http://{service.address}/", timeout_s=30.0, headers={}, parent=os.getppid())
        ended = run_child(SENDER, msgspec.json.encode(request), 60.0, dict(os.environ) | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    assert (ended.code, ended.output, service.posts) == (0, b"", [])


def test_a_module_of_the_working_directory_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requests.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with WebService() as service:
        assert answer_to(Request(url=f"http://{service.address}/", timeout_s=30.0, headers={})) == SenderAnswer(True)


def test_the_sender_does_not_load_what_the_collector_is_made_of() -> None:
    code = "import sys, pumpwatch.notify.sender; print(sorted({'gevent', 'numpy', 'apprise', 'requests'} & sys.modules.keys()))"
    assert run_child([sys.executable, "-c", code], b"", 60.0).output == b"[]\n"
