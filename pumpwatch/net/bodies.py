"""The body of a REST answer, decompressed, within a size."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Iterator

from pumpwatch.net.allowance import ReadAllowance, TooMuch
from pumpwatch.net.heads import BadAnswer
from pumpwatch.net.texts import one_line

CHUNK_BYTES = 65_536
EITHER_HEADER = 32 + zlib.MAX_WBITS  # gzip's or zlib's
GZIP_MAGIC = b"\x1f"
ACCEPTED = "gzip"


def read_body(answer: http.client.HTTPResponse, allowance: ReadAllowance, largest_bytes: int) -> bytes:
    """Read an answer to its end. Raises TooMuch, Overdue, BadAnswer, and what http.client raises for what is no HTTP.

    The size counts as sent and as decompressed, which is done in steps: a bomb costs one step more than it may have.
    """
    allowance.begin("its answer", largest_bytes + CHUNK_BYTES)  # and what frames its chunks
    decoder = _decoder(answer.getheader("Content-Encoding", ""))
    body = bytearray()
    while chunk := answer.read1(CHUNK_BYTES):
        for piece in decoder.decoded(chunk) if decoder else (chunk,):
            body += piece
            if len(body) > largest_bytes:
                raise TooMuch(f"an answer of more than {largest_bytes:,} bytes")
            if decoder and len(piece) == CHUNK_BYTES:  # what it came from was read long ago
                allowance.rest()
    if answer.length or (decoder and not decoder.whole):
        raise BadAnswer("its answer is cut")
    return bytes(body)


class _Decoder:
    """gzip, in one member or several, or deflate with the header it should have."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(EITHER_HEADER)
        self._begun = False

    @property
    def whole(self) -> bool:
        return self._inner.eof or not self._begun

    def decoded(self, data: bytes) -> Iterator[bytes]:
        """Yield what data becomes, at most CHUNK_BYTES at a time. Raises BadAnswer."""
        full = False  # then the rest may be in zlib already, with no data left
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
    raise BadAnswer(f"its answer is encoded as {one_line(encoding, 40)}, and {ACCEPTED} were asked for")
