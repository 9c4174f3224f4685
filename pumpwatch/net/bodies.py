"""Reads the body of a REST answer and decompresses it, within a size limit."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Iterator

from pumpwatch.net.allowance import ReadAllowance, TooMuch
from pumpwatch.net.heads import BadAnswer
from pumpwatch.net.texts import one_line

CHUNK_BYTES = 65_536
EITHER_HEADER = 32 + zlib.MAX_WBITS  # of gzip or of zlib
GZIP_MAGIC = b"\x1f"
ACCEPTED = "gzip"


def read_body(answer: http.client.HTTPResponse, allowance: ReadAllowance, largest_bytes: int) -> bytes:
    """Read an answer to its end.

    The limit holds for the bytes as sent and as decompressed. Decompression goes in steps, so that a decompression bomb costs
    at most one step beyond the limit. Raises TooMuch, Overdue, BadAnswer, and the errors of http.client.
    """
    allowance.begin("its answer", largest_bytes + CHUNK_BYTES)  # with room for the framing of its chunks
    decoder = _decoder(answer.getheader("Content-Encoding", ""))
    body = bytearray()
    while chunk := answer.read1(CHUNK_BYTES):
        for piece in decoder.decoded(chunk) if decoder else (chunk,):
            body += piece
            if len(body) > largest_bytes:
                raise TooMuch(f"an answer of more than {largest_bytes:,} bytes")
            if decoder and len(piece) == CHUNK_BYTES:  # a long decompression reads nothing, and so lets nobody run
                allowance.let_others_run()
    if answer.length or (decoder and not decoder.whole):
        raise BadAnswer("its answer is incomplete")
    return bytes(body)


class _Decoder:
    """Decompresses gzip, in one member or several, and deflate with its zlib header."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(EITHER_HEADER)
        self._begun = False

    @property
    def whole(self) -> bool:
        return self._inner.eof or not self._begun

    def decoded(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed data, at most CHUNK_BYTES at a time. Raises BadAnswer."""
        full = False  # if the last piece was full, zlib may hold more although no data is left
        while data or full:
            if self._inner.eof:
                if not data.startswith(GZIP_MAGIC):  # padding
                    return
                self._inner = zlib.decompressobj(EITHER_HEADER)
            self._begun = True
            try:
                piece = self._inner.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise BadAnswer(f"its compressed answer is broken: {error}") from error
            yield piece
            full = len(piece) == CHUNK_BYTES
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail


def _decoder(encoding: str) -> _Decoder | None:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Decoder()
    raise BadAnswer(f"its answer is encoded as {one_line(encoding, 40)}, only {ACCEPTED} was requested")
