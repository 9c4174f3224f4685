"""Heads of requests, read from bytes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.api.head import LARGEST_BODY, LONGEST_HEAD, LONGEST_LINE, MOST_HEADERS, RequestHead, read_head
from pumpwatch.api.route import Problem


def read(text: str) -> RequestHead | None:
    return read_head(io.BytesIO(text.replace("\n", "\r\n").encode("latin-1")))


def test_a_head_is_read_to_its_end_and_no_further() -> None:
    source = io.BytesIO(b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: 1\r\naccept:  2 \r\nContent-Length: 3\r\n\r\nabcGET")
    head = read_head(source)
    assert head == RequestHead("POST", "/a?b=c", "HTTP/1.1", {"host": "x", "accept": "1, 2", "content-length": "3"}, 3, True)
    assert source.read() == b"abcGET"


def test_the_end_of_a_connection_is_not_an_error() -> None:
    assert read("") is None


@pytest.mark.parametrize(("text", "keep_alive", "length"), [
    ("GET / HTTP/1.0\n\n", False, 0), ("GET / HTTP/1.0\nConnection: keep-alive\n\n", True, 0),
    ("GET / HTTP/1.1\nHost: x\nConnection: a, Close\n\n", False, 0),
    ("GET / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n", True, None)])
def test_what_follows_a_head_is_known(text: str, keep_alive: bool, length: int | None) -> None:
    head = read(text)
    assert head is not None and (head.keep_alive, head.length) == (keep_alive, length)


@pytest.mark.parametrize(("text", "status"), [
    ("GET /" + "a" * LONGEST_LINE + " HTTP/1.1\nHost: x\n\n", 414),
    ("GET / HTTP/1.1\nHost: x\nA: " + "a" * LONGEST_LINE + "\n\n", 431),
    ("GET / HTTP/1.1\nHost: x\n" + f"A: {'a' * 8000}\n" * (LONGEST_HEAD // 8000 + 1) + "\n", 431),
    ("GET / HTTP/1.1\n" + "A: b\n" * (MOST_HEADERS + 1) + "\n", 431),
    (f"GET / HTTP/1.1\nHost: x\nContent-Length: {LARGEST_BODY + 1}\n\n", 413),
    ("GET / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked, gzip\n\n", 501),
    ("GET / HTTP/1.0\nTransfer-Encoding: chunked\n\n", 400),
    ("GET / HTTP/1.1\nHost: x\nContent-Length: 1\nContent-Length: 1\n\n", 400),
    ("GET / HTTP/1.1\nHost: x\nContent-Length: +1\n\n", 400),
    ("GET / HTTP/1.1\nHost: x\n folded\n\n", 400), ("GET / HTTP/1.1\nHost : x\n\n", 400),
    ("GET / HTTP/1.1\nHost: x\nA: \x00\n\n", 400), ("GET / HTTP/1.1\nHost: x\n", 400), ("GET / HTTP/1.1\nHost: x", 400),
    ("GET  / HTTP/1.1\nHost: x\n\n", 400), ("get / HTTP/1.1\nHost: x\n\n", 400), ("GET http://x/ HTTP/1.1\nHost: x\n\n", 400),
    ("GET /a%2Fb HTTP/1.1\nHost: x\n\n", 400), ("GET /%2e%2e/x HTTP/1.1\nHost: x\n\n", 400),
    ("GET /a\\b HTTP/1.1\nHost: x\n\n", 400), ("GET /%5c HTTP/1.1\nHost: x\n\n", 400), ("GET /a/../b HTTP/1.1\nHost: x\n\n", 400),
    ("GET /%0d%0aSet-Cookie:x HTTP/1.1\nHost: x\n\n", 400), ("PRI * HTTP/2.0\n\n", 400)])
def test_a_head_that_breaks_a_rule_has_the_status_of_that_rule(text: str, status: int) -> None:
    with pytest.raises(Problem) as caught:
        read(text)
    assert caught.value.status == status


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_a_problem_or_nothing(content: bytes) -> None:
    try:
        head = read_head(io.BytesIO(content))
    except Problem as problem:
        status = problem.status
    else:
        status = 400 if head is None or head.target.startswith("/") else 0
    assert 400 <= status <= 501
