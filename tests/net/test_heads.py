"""The head of an HTTP answer, however it is cut into reads."""

from __future__ import annotations

import pytest

from pumpwatch.net.heads import BadAnswer, read_head
from tests.net.byte_stream import ByteStream

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-A: 1\r\nX-A:  2 \r\n\r\n\x81\x011"


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_status_and_headers_are_read_and_later_data_stays_in_the_stream(piece: int, line_end: bytes) -> None:
    stream = ByteStream(ANSWER.replace(b"\r\n", line_end), piece)
    head = read_head(stream, "its answer")
    assert head.status == 101 and head.headers == {"upgrade": "websocket", "x-a": "2"}
    assert head.start == "HTTP/1.1 101 Switching Protocols"
    assert stream.ahead + stream.incoming == b"\x81\x011" and head.rest == stream.ahead


@pytest.mark.parametrize(("sent", "problem"), [
    (b"SSH-2.0-OpenSSH\r\n\r\n", "its answer is not HTTP/1.1: SSH-2.0-OpenSSH"), (b"\r\n\r\n", "an empty line"),
    (b"HTTP/1.1 999 Odd\r\n\r\n", "not HTTP/1.1"), (b"HTTP/1.1 20", r"its answer is incomplete: HTTP/1\.1 20"),
    (b"", "nothing came")])
def test_an_invalid_head_is_an_error_that_shows_the_data(sent: bytes, problem: str) -> None:
    with pytest.raises(BadAnswer, match=problem):
        read_head(ByteStream(sent), "its answer")
