"""The last minutes in memory, by time of arrival, compressed once a bucket is closed.

A bucket holds a few seconds. While it is open it is a list of the batches as they came; closed, `compact` (in a
worker) sorts it by instrument and encodes it in chunks, so that one coin's trades are one small chunk a bucket. Buckets
know the span of their trades' own times, so a late trade is found where it arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import TradeBatch
from pumpwatch.store import codec
from pumpwatch.store.reader import by_time

CHUNK_ROWS = 2000
BUCKET_ROWS = 100_000
MAX_BYTES = 512 << 20
_ROW_BYTES = 54  # a row of a batch as columns


@dataclass(frozen=True, slots=True)
class _Chunks:
    """A closed bucket, encoded: chunk i holds the instruments first[i] to last[i]."""

    first: list[int]
    last: list[int]
    blobs: list[bytes]


@dataclass(slots=True)
class _Bucket:
    opened_ns: int
    first_timestamp: int = 2**63 - 1
    last_timestamp: int = -(2**63)
    rows: int = 0
    batches: list[TradeBatch] = field(default_factory=list)
    chunks: _Chunks | None = None
    size: int = 0  # bytes, as held now


class Recent:
    """Trades that arrived in the last `minutes`, fewer where more than `max_bytes` would be needed.

    `add`, `query` and the figures belong to the hub's thread, `compact` to one worker.
    """

    def __init__(self, minutes: float, bucket_s: float = 10.0, *, max_bytes: int = MAX_BYTES) -> None:
        self._span_ns = int(minutes * 60 * NS_PER_S)
        self._bucket_ns = int(bucket_s * NS_PER_S)
        self._max_bytes = max_bytes
        self._buckets: deque[_Bucket] = deque()
        self._encoder = codec.Encoder()  # the worker's
        self._decoder = codec.Decoder()  # the hub's
        self._size = 0
        self.rows = 0
        self.covers_from_ns = 2**63 - 1  # every trade that reached us with this timestamp or a later one is here

    def add(self, batch: TradeBatch) -> None:
        """Take a batch just received."""
        rows = len(batch)
        if not rows:
            return
        now_ns = int(batch.received_at[-1])
        bucket = self._buckets[-1] if self._buckets else None
        if bucket is None or now_ns - bucket.opened_ns >= self._bucket_ns or bucket.rows >= BUCKET_ROWS:
            bucket = self._open_bucket(now_ns)
        bucket.batches.append(batch)
        bucket.rows += rows
        bucket.size += rows * _ROW_BYTES
        self.rows += rows
        bucket.first_timestamp = min(bucket.first_timestamp, int(batch.timestamp.min()))
        bucket.last_timestamp = max(bucket.last_timestamp, int(batch.timestamp.max()))

    def _open_bucket(self, now_ns: int) -> _Bucket:
        if not self._buckets:
            self.covers_from_ns = min(self.covers_from_ns, now_ns)
        bucket = _Bucket(now_ns)
        self._buckets.append(bucket)
        while len(self._buckets) > 1 and (self._buckets[1].opened_ns <= now_ns - self._span_ns
                                          or self.nbytes > self._max_bytes):
            gone = self._buckets.popleft()
            self.rows -= gone.rows
            self.covers_from_ns = max(self.covers_from_ns, gone.last_timestamp + 1)
        return bucket

    @property
    def nbytes(self) -> int:
        """Return the bytes held, open buckets included."""
        return sum(bucket.size for bucket in self._buckets)

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns), by timestamp."""
        wanted = sorted(set(ids))
        found: list[TradeBatch] = []
        for bucket in self._buckets:
            if bucket.last_timestamp < start_ns or bucket.first_timestamp >= end_ns:
                continue
            batches, chunks = bucket.batches, bucket.chunks  # in this order: compact sets chunks, then batches
            if chunks is None:
                batch = TradeBatch.concat(batches)
                if bucket is self._buckets[-1] and len(batches) > 1:
                    bucket.batches = [batch]
                _take(found, batch, wanted, start_ns, end_ns)
                continue
            for first, last, blob in zip(chunks.first, chunks.last, chunks.blobs, strict=True):
                inside = [number for number in wanted if first <= number <= last]
                if inside:
                    _take(found, self._decoder.decode(blob), inside, start_ns, end_ns)
        return by_time(found)

    def compact(self) -> int:
        """Encode the buckets that are closed; return how many were. Holds the hub for no longer than one chunk."""
        done = 0
        for bucket in list(self._buckets)[:-1]:
            if bucket.chunks is None:
                chunks = self._encode(bucket)
                size = sum(len(blob) + 64 for blob in chunks.blobs)
                bucket.chunks = chunks  # from here on a query reads these
                bucket.batches = []
                bucket.size = size
                done += 1
        return done

    def _encode(self, bucket: _Bucket) -> _Chunks:
        batch = codec.grouped(TradeBatch.concat(bucket.batches))
        chunks = _Chunks([], [], [])
        for part in codec.split(batch, CHUNK_ROWS):
            chunks.first.append(int(part.instrument[0]))
            chunks.last.append(int(part.instrument[-1]))
            chunks.blobs.append(b"".join(self._encoder.encode_parts(part)))
        return chunks


def _take(found: list[TradeBatch], batch: TradeBatch, wanted: Sequence[int], start_ns: int, end_ns: int) -> None:
    rows: NDArray[np.bool_] = batch.instrument == wanted[0]
    for number in wanted[1:]:
        rows |= batch.instrument == number
    rows &= (batch.timestamp >= start_ns) & (batch.timestamp < end_ns)
    if rows.any():
        found.append(batch.take(rows))
