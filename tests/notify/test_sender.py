"""The sender speaks JSON, bounds itself, and answers in its last line whatever is printed before."""

from __future__ import annotations

import os
import sys

import msgspec

from pumpwatch.notify.channels import SENDER
from pumpwatch.notify.child import run_child
from pumpwatch.notify.sender import Answer, Request
from tests.notify.web_service import WebService


def answer_to(request: Request) -> Answer:
    environ = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = run_child(SENDER, msgspec.json.encode(request), 60.0, environ)
    assert ended.code == 0, ended.output
    return msgspec.json.decode(ended.output.rstrip().rpartition(b"\n")[2], type=Answer)


def test_a_post_is_sent_with_its_headers_as_it_is() -> None:
    with WebService() as service:
        request = Request(url=f"http://{service.address}/", timeout_s=30.0, body="카이트", headers={"X-Mine": "1"})
        assert answer_to(request) == Answer(True)
    ((headers, body),) = service.posts
    assert headers["x-mine"] == "1" and body.decode() == "카이트"


def test_an_address_that_is_none_is_an_answer() -> None:
    for url in ("http://", "http://[", "nonsense"):
        answer = answer_to(Request(url=url, timeout_s=1.0, headers={}))
        assert not answer.taken and answer.reason


def test_the_sender_does_not_load_what_the_collector_is_made_of() -> None:
    code = "import sys, pumpwatch.notify.sender; print(sorted({'gevent', 'numpy', 'apprise', 'requests'} & sys.modules.keys()))"
    assert run_child([sys.executable, "-c", code], b"", 60.0).output == b"[]\n"
