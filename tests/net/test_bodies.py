"""Compressed answers come out as they went in, however they were compressed."""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.bodies import _Decoder
from pumpwatch.net.http import Http
from tests.net.hostile_server import answer, hostile, with_body


def in_two_members(data: bytes) -> bytes:
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2:])


def padded(data: bytes) -> bytes:
    return gzip.compress(data) + bytes(20)


DATA = st.binary(max_size=300) | st.integers(0, 200_000).map(lambda size: b"a" * size)


@given(st.sampled_from([gzip.compress, in_two_members, padded, zlib.compress]), DATA, st.integers(1, 400))
def test_a_compressed_body_is_whole_for_any_division_into_pieces(
        pack: Callable[[bytes], bytes], data: bytes, step: int) -> None:
    packed = pack(data)
    decoder = _Decoder()
    pieces = [piece for at in range(0, len(packed), step) for piece in decoder.decoded(packed[at:at + step])]
    assert b"".join(pieces) == data and decoder.whole
    assert max(map(len, pieces), default=0) <= 65_536


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_compressed_answer_is_requested_and_read_and_an_incomplete_one_is_an_error(pack: Callable[[bytes], bytes]) -> None:
    encoding = f"Content-Encoding: {'gzip' if pack is gzip.compress else 'deflate'}"
    body = b'{"symbol":"X"},' * 200_000
    http = Http(ssl.create_default_context(), 5.0)
    with hostile(answer(with_body(pack(body), encoding))) as server:
        assert http.fetch(f"http://{server.address}/").body == body
        assert b"Accept-Encoding: gzip\r\n" in server.requests[0]
        server.scenario = answer(with_body(pack(body)[:-20], encoding))
        with pytest.raises(ServiceUnavailable, match="its answer is incomplete"):
            http.fetch(f"http://{server.address}/")
