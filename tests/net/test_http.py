"""REST answers that are none: too large, never ending, an error page; each is one line, and holds up nobody."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

import pytest

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.http import Http
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.venue import HttpRequest
from tests.net.hostile_server import answer, hostile, with_body

ERROR_PAGE = b"<html>\r\n<head><title>502 \x1b[31mBad</title></head>\n" + b"<p>gateway</p>\n" * 100


@contextmanager
def serving(answer: Callable[[BinaryIO], None], status: int = 200) -> Iterator[str]:
    """Answer every request with what this writes, until the connection is closed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            try:
                answer(self.wfile)
            except OSError:
                pass  # the client has seen enough

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client(timeout_s: float = 5.0, largest_bytes: int = 100_000) -> Http:
    return Http(ssl.create_default_context(), timeout_s, largest_bytes=largest_bytes)


def dripping(out: BinaryIO) -> None:
    while True:
        out.write(b"x")
        time.sleep(0.02)


def test_a_body_that_is_as_large_as_may_be_comes_whole():
    with serving(lambda out: out.write(b"x" * 100_000) and None) as url:
        assert client().fetch(url).body == b"x" * 100_000


def test_a_larger_one_is_an_error_before_it_is_read_to_its_end():
    with serving(lambda out: [out.write(b"x" * 65_536) for _ in range(10_000)] and None) as url, \
            pytest.raises(ServiceUnavailable, match="an answer of more than 100,000 bytes"):
        client().fetch(url)


def test_an_error_page_is_shown_on_one_line():
    budget = TokenBucket(10, 10, Clock())
    with serving(lambda out: out.write(ERROR_PAGE) and None, status=502) as url, pytest.raises(ServiceUnavailable) as caught:
        client().ask(url, HttpRequest("/symbols"), {}, budget)
    assert caught.value.message.startswith(f"{url}/symbols: HTTP 502: <html> <head><title>502 \\x1b[31mBad</title></head> <p>")
    assert caught.value.message.isprintable() and len(caught.value.message) < 250


HUB = """
from gevent import monkey
monkey.patch_all()
import ssl, sys
import gevent
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.http import Http

turns = 0
def others():
    global turns
    while True:
        gevent.sleep(0.0001)
        turns += 1

gevent.spawn(others)
try:
    Http(ssl.create_default_context(), float(sys.argv[2])).fetch(sys.argv[1])
except ServiceUnavailable as error:
    print(turns, error)
"""


def fetched(url: str, timeout_s: float) -> tuple[int, str]:
    """Fetch in a process that gevent has patched, as the collector is; return the turns others had, and the refusal."""
    done = subprocess.run([sys.executable, "-c", HUB, url, str(timeout_s)], capture_output=True, text=True, timeout=60,
                          check=True)
    turns, _, said = done.stdout.partition(" ")
    return int(turns), said.strip()


def test_a_list_of_40_mb_does_not_hold_up_the_hub():
    body = b'{"symbols":[' + b'{"symbol":"X"},' * 2_700_000
    with serving(lambda out: out.write(body) and None) as url:
        turns, said = fetched(url, 10.0)
    assert said == f"{url}: an answer of more than 33,554,432 bytes"
    assert turns > 100


def test_a_body_that_drips_is_given_up():
    with serving(dripping) as url:
        _, said = fetched(url, 0.2)
    assert said == f"{url}: its answer takes longer than 1.2 s"


def test_a_client_that_is_dropped_closes_the_connections_that_it_kept():
    with hostile(answer(with_body(b"{}"))) as venue:
        asking = client()
        asking.fetch(f"http://{venue.address}/")
        (line,) = asking._kept
        del asking
        assert line.stream.fileno() == -1
